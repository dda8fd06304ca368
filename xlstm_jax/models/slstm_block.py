"""The xLSTM paper's sLSTM block: scalar memory with memory mixing, then a gated feed-forward layer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.slstm import SLSTMState, empty_state, forget_bias_init
from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig, rounded_up
from xlstm_jax.models.feed_forward import GatedGELU, TwoBranches
from xlstm_jax.nn import CausalConv, HeadNorm, Headwise, layer_norm, small_init, wang_init
from xlstm_jax.ops.slstm import slstm


class SLSTMCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, D]
    state: SLSTMState | None


@BLOCKS.register("s")
class SLSTMBlock(TwoBranches):
    """Two residual branches: x += headnorm(sLSTM(.)), then x += feedforward(norm(x)).

    Input pre-activations of i, f come from SiLU(conv(norm(x))), those of z, o from norm(x), by maps that are
    block-diagonal over heads; the recurrent matrix is too, and starts at zero.
    Beck et al. 2024 (arXiv 2405.04517), figure 10 and section 2.4.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        block, features, dtype = config.slstm, config.features, jnp.dtype(config.dtype)
        heads, num_blocks = block.num_heads, len(config.letters)
        width = features // heads
        self.config = block
        self.norm = layer_norm(features, dtype=dtype, rngs=rngs)
        self.conv = CausalConv(features, block.conv_width, dtype=dtype, rngs=rngs) if block.conv_width else None
        init = small_init(features)
        self.i, self.f, self.z, self.o = (Headwise(features, width, init, dtype=dtype, rngs=rngs) for _ in range(4))
        self.recurrent = nnx.Param(jnp.zeros((4, heads, width, width), jnp.float32))
        depth = index / (num_blocks - 1) if num_blocks > 1 else 0.0
        bias = jnp.zeros((4, heads, width), jnp.float32).at[1].set(forget_bias_init(heads, width, depth))
        self.bias = nnx.Param(bias)
        self.head_norm = HeadNorm(heads, width, dtype=dtype, rngs=rngs)
        self.ffn_norm = layer_norm(features, dtype=dtype, rngs=rngs)
        inner = rounded_up(block.ffn_factor * features, 64)
        self.ffn = GatedGELU(features, inner, wang_init(features, num_blocks), dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: ModelConfig) -> str:
        del config
        return "an sLSTM is sequential, each of its steps needs the output of the one before"

    def init_carry(self, batch: int) -> SLSTMCarry:
        _, heads, width, _ = self.recurrent.shape
        conv = self.conv.init_carry(batch) if self.conv is not None else None
        return SLSTMCarry(conv=conv, state=empty_state((batch, heads, width)))

    def mix(self, u, carry: SLSTMCarry | None, masks):
        carry = carry or SLSTMCarry(None, None)
        s, conv = u, None
        if self.conv is not None:
            s, conv = self.conv(u, carry.conv, **masks)
            s = jax.nn.silu(s)
        pre = jnp.stack([self.i(s), self.f(s), self.z(u), self.o(u)], axis=2)
        bias = self.bias[...].astype(pre.dtype)
        pre_BTGHD = pre.reshape(*pre.shape[:3], *bias.shape[1:])
        y_BTHD, state = slstm(
            pre_BTGHD + jnp.broadcast_to(bias, pre_BTGHD.shape),
            self.recurrent[...].astype(pre.dtype),
            state=carry.state,
            reset_BT=masks["reset"],
            lengths_B=masks["lengths"],
            input_gate=self.config.input_gate,
            forget_gate=self.config.forget_gate,
            implementation=self.config.implementation or None,
        )
        return self.head_norm(y_BTHD), SLSTMCarry(conv, state)
