"""Normalisation layers."""

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.shapes import state_dtype


def layer_norm(features: int, *, eps: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm with a weight and no bias; statistics in float32."""
    return nnx.LayerNorm(features, epsilon=eps, use_bias=False, dtype=dtype, rngs=rngs)


def rms_norm(features: int, *, eps: float = 1e-6, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """x / sqrt(mean(x^2) + eps) with a weight (Zhang & Sennrich 2019); statistics in float32."""
    return nnx.RMSNorm(features, epsilon=eps, dtype=dtype, rngs=rngs)


NORMS = {"layer": layer_norm, "rms": rms_norm}


def softcap(x: jax.Array, cap: float) -> jax.Array:
    """cap tanh(x / cap), x itself where it is small, and never beyond +- cap; a cap of 0 leaves x as it is."""
    return cap * jnp.tanh(x / cap) if cap else x


class HeadNorm(nnx.Module):
    """Layer norm of each head's features on their own, one weight a feature: [..., H, V] -> [..., H * V]."""

    def __init__(self, heads: int, head_features: int, *, eps: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(head_features, epsilon=eps, use_bias=False, use_scale=False, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((heads * head_features,), jnp.float32))
        self.dtype = dtype

    def __call__(self, h: jax.Array) -> jax.Array:
        flat = self.norm(h.astype(state_dtype(h))).reshape(*h.shape[:-2], -1)
        return (flat * jnp.broadcast_to(self.scale[...], flat.shape)).astype(self.dtype)
