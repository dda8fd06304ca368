"""Blocks around cells that are linear in their carry: minLSTM and minGRU, and Griffin's RG-LRU."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig, inner_width, rounded_up
from xlstm_jax.models.feed_forward import GatedGELU, TwoBranches
from xlstm_jax.nn import CausalConv, Recurrent, gelu, linear, rms_norm


class LinearCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner]
    state: Any  # of the cell


def _last_init(config: ModelConfig) -> nnx.Initializer:
    """Of the map that ends a branch."""
    return nnx.initializers.variance_scaling(1 / len(config.letters), "fan_in", "truncated_normal")


class _Residuals(TwoBranches):
    """RMS norms, and W_down(GELU(a) * b), [a, b] = W_up u, after `mix`."""

    def __init__(self, config: ModelConfig, options: Any, *, rngs: nnx.Rngs):
        features, self.dtype = config.features, jnp.dtype(config.dtype)
        self.norm = rms_norm(features, dtype=self.dtype, rngs=rngs)
        self.ffn_norm = rms_norm(features, dtype=self.dtype, rngs=rngs)
        inner = rounded_up(options.ffn_factor * features, options.ffn_multiple)
        self.ffn = GatedGELU(features, inner, _last_init(config), dtype=self.dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: ModelConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> LinearCarry:
        return LinearCarry(self.conv.init_carry(batch), self.layer.init_carry(batch))


@BLOCKS.register("n")
class MinimalBlock(_Residuals):
    """mix(u) = W_down minLSTM(conv(u)), or the minGRU, `expansion` times as wide; parallel over time.

    A convolution, the recurrence and a feed-forward layer, as in the language models of Feng et al. 2024
    (arXiv 2410.01201); the feed-forward layer is gated here, as in the other blocks.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features = config.minimal, config.features
        super().__init__(config, block, rngs=rngs)
        inner = inner_width(config, "minimal", "expansion")
        self.conv = CausalConv(features, block.conv_width, dtype=self.dtype, rngs=rngs)
        self.layer = Recurrent(block.cell, features, inner, dtype=self.dtype, rngs=rngs)
        self.down = linear(inner, features, _last_init(config), axes=("inner", "embed"), dtype=self.dtype, rngs=rngs)

    def mix(self, u, carry: LinearCarry | None, masks):
        carry = carry or LinearCarry(None, None)
        u, conv = self.conv(u, carry.conv, **masks)
        h, state = self.layer(u, carry.state, **masks)
        return self.down(h), LinearCarry(conv, state)


@BLOCKS.register("g")
class GriffinBlock(_Residuals):
    """mix(u) = W_out(GELU(W_gate u) * RG-LRU(conv(W_in u))); parallel over time.

    De et al. 2024 (arXiv 2402.19427), section 2: Griffin's recurrent block, Hawk where it is alone.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features = config.griffin, config.features
        super().__init__(config, block, rngs=rngs)
        init = nnx.initializers.lecun_normal()
        inner = rounded_up(block.expansion * features, block.num_heads)
        self.gate = linear(features, inner, init, dtype=self.dtype, rngs=rngs)
        self.up = linear(features, inner, init, dtype=self.dtype, rngs=rngs)
        self.conv = CausalConv(inner, block.conv_width, dtype=self.dtype, rngs=rngs)
        self.layer = Recurrent("rglru", inner, inner, num_heads=block.num_heads, dtype=self.dtype, rngs=rngs)
        self.down = linear(inner, features, _last_init(config), axes=("inner", "embed"), dtype=self.dtype, rngs=rngs)

    def mix(self, u, carry: LinearCarry | None, masks):
        carry = carry or LinearCarry(None, None)
        b, conv = self.conv(self.up(u), carry.conv, **masks)
        h, state = self.layer(b, carry.state, **masks)
        return self.down(gelu(self.gate(u)) * h), LinearCarry(conv, state)
