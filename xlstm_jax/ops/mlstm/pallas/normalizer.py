"""The backward pass through the normalizer, in XLA; the kernels go on from its results."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.mlstm import clamped, least_denominator


class Cotangents(NamedTuple):
    """Cotangents from h: dh [B,T,H,V], and inv and dnq [B,H,T]."""

    dh: jax.Array
    inv: jax.Array
    dnq: jax.Array


def through_normalizer(options, scale, dh_BTHV, h_BTHV, rest_BTHV, nq_BHT, m_BHT):
    """Cotangents of the unnormalized sums, and of m through the lower bound of the denominator.

    h is `h_BTHV` and what rounding took from it, `rest_BTHV`, which may be None.
    """
    if not options.normalize:
        return Cotangents(dh_BTHV, jnp.full_like(nq_BHT, scale), jnp.zeros_like(nq_BHT)), jnp.zeros_like(m_BHT)
    bound = least_denominator(m_BHT)
    by_nq = jnp.abs(nq_BHT) > bound
    denominator = jnp.where(by_nq, jnp.abs(nq_BHT), bound) + options.eps
    inverse = 1 / clamped(denominator)
    # Use h before rounding: the gradient left after this product is subtracted may be small.
    parts = (part.astype(nq_BHT.dtype) for part in (h_BTHV, rest_BTHV) if part is not None)
    dot = jnp.einsum("bthv,bthv->bht", dh_BTHV.astype(nq_BHT.dtype), sum(parts), precision="highest")
    ddenominator = -dot * inverse
    dnq = jnp.where(by_nq, scale * jnp.sign(nq_BHT) * ddenominator, 0)
    # Only where the bound is e^-m and not clipped to its own limits.
    by_m = ~by_nq & (bound > jnp.finfo(bound.dtype).tiny) & (bound < jnp.inf)
    dm = jnp.where(by_m, -jnp.where(by_m, bound, jnp.zeros_like(bound)) * ddenominator, 0)
    return Cotangents(dh_BTHV, scale * inverse, dnq), dm
