"""Shared parts of blocks around cells that are linear in their carry."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.blocks.feed_forward import GatedGELU, TwoBranches
from xlstm_jax.models.config import StackConfig, rounded_up
from xlstm_jax.nn import rms_norm


class LinearCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner]
    state: Any  # the cell's carry


def last_init(config: StackConfig) -> nnx.Initializer:
    """Initialisation of the last linear map of a branch."""
    return nnx.initializers.variance_scaling(1 / len(config.layers), "fan_in", "truncated_normal")


class Residuals(TwoBranches):
    """`TwoBranches` with RMS norms and the feed-forward layer W_down(GELU(a) * b), [a, b] = W_up u."""

    def __init__(self, config: StackConfig, options: Any, *, rngs: nnx.Rngs):
        features, self.dtype = config.features, jnp.dtype(config.dtype)
        self.norm = rms_norm(features, dtype=self.dtype, rngs=rngs)
        self.ffn_norm = rms_norm(features, dtype=self.dtype, rngs=rngs)
        inner = rounded_up(options.ffn_factor * features, options.ffn_multiple)
        self.ffn = GatedGELU(features, inner, last_init(config), dtype=self.dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> LinearCarry:
        return LinearCarry(self.conv.init_carry(batch), self.layer.init_carry(batch))
