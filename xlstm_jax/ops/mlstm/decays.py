"""Sums of log gates inside a chunk, stored so that the difference of any two is accurate.

Step s contributes to step t with weight e^(b_t - b_s + log i_s - m_t), where b is the running sum of log f. One float32
cannot represent b if a nearly shut gate (a log of -1e5, say) comes before gates with a log of -1e-3; three can.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import LOWEST

# Units of the first two parts. In float32, sums of the first are exact below 2^30 and of the second below 2^17, which
# is enough for chunks of up to 4,096 steps. Sums of the third part are small.
TOP, COARSE = 2.0**6, 2.0**-7
# Lower bound for log f, in place of minus infinity. Nothing from before such a gate remains in any dtype, so clamping
# is exact unless input gates or states after it are smaller than those before by a factor e^16,384.
SHUT = -(2.0**14)


class Parts(NamedTuple):
    """A finite number as the sum of a multiple of TOP, a multiple of COARSE, and a rest that carries the gradient."""

    top: jax.Array
    coarse: jax.Array
    fine: jax.Array

    @classmethod
    def of(cls, a: jax.Array) -> "Parts":
        known = jax.lax.stop_gradient(a)
        top = jnp.round(known / TOP) * TOP
        coarse = jnp.round((known - top) / COARSE) * COARSE
        return cls(top, coarse, (a - top) - coarse)

    def map(self, function) -> "Parts":
        return Parts(*map(function, self))

    def minus(self, other: "Parts") -> "Parts":
        return Parts(*(a - b for a, b in zip(self, other, strict=True)))

    def source(self, log_i: jax.Array) -> "Parts":
        """log i - b for this b; a log i of minus infinity goes into the rest."""
        whole = jax.lax.stop_gradient(jnp.round(jnp.maximum(log_i, jnp.asarray(LOWEST, log_i.dtype))))
        return Parts(-self.top, whole - self.coarse, (log_i - whole) - self.fine)

    def total(self) -> jax.Array:
        return self.top + (self.coarse + self.fine)


def log_forget(log_f: jax.Array) -> Parts:
    """log f, clamped from below at SHUT."""
    return Parts.of(jnp.maximum(log_f, jnp.asarray(SHUT, log_f.dtype)))


def decays(log_f, reset):
    """b as parts [B,H,L], the mask of visible steps [..,L,L], the decay from the chunk's start or the last reset to
    each step [B,H,L], and `fresh` [..,L]: true if no reset came so far.
    """
    length = log_f.shape[-1]
    gates = log_forget(log_f)
    mask = jnp.tril(jnp.ones((1, 1, length, length), bool))
    # A product, because XLA stores its result; it would recompute a cumulative sum for each pair of steps.
    b = Parts(*jnp.einsum("pbhs,ts->pbht", jnp.stack(gates), mask[0, 0].astype(log_f.dtype), precision="highest"))
    fresh = jnp.ones((1, 1, length), bool)
    decay = b
    if reset is not None:
        segment = jnp.cumsum(reset, axis=-1, dtype=jnp.int32)[:, None, :]
        mask = mask & (segment[..., :, None] == segment[..., None, :])
        fresh = segment == 0
        # Sum only inside segments, so that no gradient crosses a reset, not even as a rounding error.
        decay = gates.map(lambda part: jnp.sum(jnp.where(mask, part[..., None, :], 0), axis=-1))
        b = b._replace(fine=decay.fine)
    return b, mask, decay.total(), fresh


def exponent(of_t: Parts, of_s: Parts, mask):
    """D_ts - m_t from b_t - m_t and log i_s - b_s, adding large parts first; -inf if t does not see s."""
    top, coarse, fine = (t[..., :, None] + s[..., None, :] for t, s in zip(of_t, of_s, strict=True))
    return jnp.where(mask, (top + coarse) + fine, -jnp.inf)
