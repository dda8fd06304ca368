"""Griffin's recurrent block: the RG-LRU between gated branches."""

import dataclasses

from flax import nnx

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.linear import LinearCarry, Residuals, last_init
from xlstm_jax.models.config import PositiveFactor, PositiveTaps, StackConfig, rounded_up
from xlstm_jax.nn import CausalConv, Recurrent, gelu, linear


@dataclasses.dataclass(frozen=True)
class GriffinBlockConfig(Section, name="model.griffin"):
    num_heads: PositiveInt = 4  # blocks of the gates' block-diagonal maps
    expansion: PositiveFactor = 4 / 3  # width of the recurrence over model width
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    ffn_factor: PositiveFactor = 3.0  # feed-forward width over model width
    ffn_multiple: PositiveInt = 64  # the feed-forward width is rounded up to a multiple of it


@BLOCKS.register("griffin", "g")
class GriffinBlock(Residuals):
    """mix(u) = W_out(GELU(W_gate u) * RG-LRU(conv(W_in u))); parallel over time.

    De et al. 2024 (arXiv 2402.19427), section 2: the recurrent block of Griffin; a stack of only this block is Hawk.
    """

    Config = GriffinBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features = config.options(GriffinBlockConfig), config.features
        super().__init__(config, block, rngs=rngs)
        init = nnx.initializers.lecun_normal()
        inner = rounded_up(block.expansion * features, block.num_heads)
        self.gate = linear(features, inner, init, dtype=self.dtype, rngs=rngs)
        self.up = linear(features, inner, init, dtype=self.dtype, rngs=rngs)
        self.conv = CausalConv(inner, block.conv_width, dtype=self.dtype, rngs=rngs)
        self.layer = Recurrent("rglru", inner, inner, num_heads=block.num_heads, dtype=self.dtype, rngs=rngs)
        self.down = linear(inner, features, last_init(config), axes=("inner", "embed"), dtype=self.dtype, rngs=rngs)

    def mix(self, u, carry: LinearCarry | None, masks):
        carry = carry or LinearCarry(None, None)
        b, conv = self.conv(self.up(u), carry.conv, **masks)
        h, state = self.layer(b, carry.state, **masks)
        return self.down(gelu(self.gate(u)) * h), LinearCarry(conv, state)
