"""Gated feed-forward layers, and the base of blocks with a second, feed-forward branch."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.blocks.base import checked_inputs
from xlstm_jax.models.config import rounded_up
from xlstm_jax.nn import gelu, layer_norm, linear, small_init, wang_init


class TwoBranches(nnx.Module):
    """x += mix(norm(x)), then x += ffn(ffn_norm(x)), each branch with dropout if a key is given.

    A subclass sets `norm`, `ffn_norm`, `ffn` and `dropout`, and defines the first branch, `mix(u_BTD, carry, masks)` ->
    (y [B, T, D], carry), where `masks` has `reset` and `lengths`. If `ffn` is None, there is no second branch.
    """

    def __call__(self, x_BTD: jax.Array, carry: Any, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, Any]:
        x_BTD, reset, lengths = checked_inputs(self, self.norm.num_features, x_BTD, carry, reset, lengths)
        keys = (key,) if key is None or self.ffn is None else jax.random.split(key)
        y_BTD, carry = self.mix(self.norm(x_BTD), carry, {"reset": reset, "lengths": lengths})
        x_BTD = x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=keys[0])
        if self.ffn is None:
            return x_BTD, carry
        y_BTD = self.ffn(self.ffn_norm(x_BTD))
        return x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=keys[-1]), carry


class GatedGELU(nnx.Module):
    """W_down(GELU(a) * b), [a, b] = W_up x."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.up = linear(features, 2 * inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, axes=("inner", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        a, b = jnp.split(self.up(x_BTD), 2, axis=-1)
        return self.down(gelu(a) * b)


def post_projection(
    features: int, factor: float, num_blocks: int, *, dtype: jnp.dtype, rngs: nnx.Rngs
) -> tuple[nnx.LayerNorm | None, GatedGELU | None]:
    """Norm and gated layer of the sLSTM block's second branch; (None, None) if `factor` is 0.

    The width is `factor` * features, rounded up to a multiple of 64. Beck et al. 2024 (arXiv 2405.04517), figure 10:
    post up-projection.
    """
    if not factor:
        return None, None
    norm = layer_norm(features, dtype=dtype, rngs=rngs)
    inner = rounded_up(factor * features, 64)
    return norm, GatedGELU(features, inner, wang_init(features, num_blocks), dtype=dtype, rngs=rngs)


class SwiGLU(nnx.Module):
    """W_down(SiLU(W_gate x) * (W_up x)) (Shazeer 2020)."""

    def __init__(self, features: int, inner: int, down_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.gate = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.up = linear(features, inner, small_init(features), dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, down_init, axes=("inner", "embed"), dtype=dtype, rngs=rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        return self.down(jax.nn.silu(self.gate(x_BTD)) * self.up(x_BTD))
