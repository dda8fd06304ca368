"""Normalisation layers."""

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.shapes import state_dtype


def layer_norm(features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm with a weight and no bias, eps 1e-5; statistics in float32."""
    return nnx.LayerNorm(features, epsilon=1e-5, use_bias=False, dtype=dtype, rngs=rngs)


class HeadNorm(nnx.Module):
    """Layer norm of each head's features on their own, eps 1e-5, one weight a feature: [..., H, V] -> [..., H * V]."""

    def __init__(self, heads: int, head_features: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(head_features, epsilon=1e-5, use_bias=False, use_scale=False, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((heads * head_features,), jnp.float32))
        self.dtype = dtype

    def __call__(self, h: jax.Array) -> jax.Array:
        flat = self.norm(h.astype(state_dtype(h))).reshape(*h.shape[:-2], -1)
        return (flat * jnp.broadcast_to(self.scale[...], flat.shape)).astype(self.dtype)
