"""Activation functions that, unlike JAX's own, can be differentiated inside `jax.shard_map`."""

import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_jvp
def _normal_cdf(x: jax.Array) -> jax.Array:
    """Phi(x), the cumulative distribution function of the standard normal distribution."""
    return 0.5 * jax.lax.erfc(-x * np.sqrt(0.5).astype(x.dtype))


@_normal_cdf.defjvp
def _normal_cdf_jvp(primals, tangents):
    # jax 0.12 cannot differentiate erfc inside `jax.shard_map` with `check_vma=True`.
    (x,), (dx,) = primals, tangents
    density = jnp.exp(-0.5 * x * x) * np.sqrt(0.5 / np.pi).astype(x.dtype)
    return _normal_cdf(x), density * dx


def gelu(x: jax.Array) -> jax.Array:
    """x Phi(x), exact, without the tanh approximation (Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2)."""
    return x * _normal_cdf(x)
