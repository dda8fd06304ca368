"""The block of minLSTM and minGRU, recurrences whose gates do not depend on the hidden state."""

import dataclasses
from typing import Literal

from flax import nnx

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.linear import LinearCarry, Residuals, last_init
from xlstm_jax.models.config import PositiveFactor, PositiveTaps, StackConfig, inner_width
from xlstm_jax.nn import CausalConv, Recurrent, linear


@dataclasses.dataclass(frozen=True)
class MinimalBlockConfig(Section, name="model.minimal"):
    cell: Literal["minlstm", "mingru"] = "minlstm"  # the recurrent cell
    expansion: PositiveFactor = 2.0  # width of the recurrence over model width
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    ffn_factor: PositiveFactor = 8 / 3  # feed-forward width over model width
    ffn_multiple: PositiveInt = 64  # the feed-forward width is rounded up to a multiple of it


@BLOCKS.register("minimal", "n")
class MinimalBlock(Residuals):
    """mix(u) = W_down minLSTM(conv(u)), or with minGRU, `expansion` times as wide as the model; parallel over time.

    A convolution, the recurrence and a feed-forward layer, as in the language models of Feng et al. 2024
    (arXiv 2410.01201). Here the feed-forward layer is gated, as in the other blocks.
    """

    Config = MinimalBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features = config.options(MinimalBlockConfig), config.features
        super().__init__(config, block, rngs=rngs)
        inner = inner_width(config, block, "expansion")
        self.conv = CausalConv(features, block.conv_width, dtype=self.dtype, rngs=rngs)
        self.layer = Recurrent(block.cell, features, inner, dtype=self.dtype, rngs=rngs)
        self.down = linear(inner, features, last_init(config), axes=("inner", "embed"), dtype=self.dtype, rngs=rngs)

    def mix(self, u, carry: LinearCarry | None, masks):
        carry = carry or LinearCarry(None, None)
        u, conv = self.conv(u, carry.conv, **masks)
        h, state = self.layer(u, carry.state, **masks)
        return self.down(h), LinearCarry(conv, state)
