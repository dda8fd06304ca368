"""Gated feed-forward layers, as blocks have them behind what mixes over time."""

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.nn import linear, small_init


class GatedGELU(nnx.Module):
    """W_down(GELU(a) * b), [a, b] = W_up x."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.up = linear(features, 2 * inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        a, b = jnp.split(self.up(x_BTD), 2, axis=-1)
        return self.down(jax.nn.gelu(a, approximate=False) * b)


class SwiGLU(nnx.Module):
    """W_down(SiLU(W_gate x) * (W_up x)) (Shazeer 2020)."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.gate = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.up = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return self.down(jax.nn.silu(self.gate(x_BTD)) * self.up(x_BTD))
