"""Gated feed-forward layers, and blocks that have one behind what mixes over time."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.nn import linear, small_init


class TwoBranches(nnx.Module):
    """x += mix(norm(x)), then x += ffn(ffn_norm(x)), each with dropout where a key is given.

    A block that is one makes `norm`, `ffn_norm`, `ffn` and `dropout`, and says what its first branch adds:
    `mix(u_BTD, carry, masks)` -> (y [B, T, D], carry), where `masks` holds `reset` and `lengths`.
    """

    def __call__(self, x_BTD: jax.Array, carry: Any, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, Any]:
        keys = (None, None) if key is None else jax.random.split(key)
        y_BTD, carry = self.mix(self.norm(x_BTD), carry, {"reset": reset, "lengths": lengths})
        x_BTD = x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=keys[0])
        y_BTD = self.ffn(self.ffn_norm(x_BTD))
        return x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=keys[1]), carry


class GatedGELU(nnx.Module):
    """W_down(GELU(a) * b), [a, b] = W_up x."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.up = linear(features, 2 * inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, axes=("inner", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        a, b = jnp.split(self.up(x_BTD), 2, axis=-1)
        return self.down(jax.nn.gelu(a, approximate=False) * b)


class SwiGLU(nnx.Module):
    """W_down(SiLU(W_gate x) * (W_up x)) (Shazeer 2020)."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.gate = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.up = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, axes=("inner", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return self.down(jax.nn.silu(self.gate(x_BTD)) * self.up(x_BTD))
