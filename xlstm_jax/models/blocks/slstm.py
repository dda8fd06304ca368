"""The xLSTM paper's sLSTM block: scalar memory with memory mixing, then a gated feed-forward layer."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.slstm import SLSTMState, empty_state, forget_bias_init
from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.feed_forward import TwoBranches, post_projection
from xlstm_jax.models.config import Factor, StackConfig, Taps, inner_width
from xlstm_jax.nn import CausalConv, HeadNorm, Headwise, layer_norm, linear, small_init, wang_init
from xlstm_jax.ops.slstm import slstm
from xlstm_jax.shapes import state_dtype


class SLSTMCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner]
    state: SLSTMState | None


@dataclasses.dataclass(frozen=True)
class SLSTMBlockConfig(Section, name="model.slstm"):
    num_heads: PositiveInt = 4  # blocks of the recurrent matrices
    proj_factor: Factor = 0.0  # inner width over model width, as in the mLSTM block; 0: the model's width
    conv_width: Taps = 4  # taps of the causal convolution; 0: none
    ffn_factor: Factor = 1.3  # feed-forward width over model width, rounded up to a multiple of 64; 0: no layer
    input_gate: Literal["exp", "sigmoid"] = "exp"  # activation of the input gate
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"  # activation of the forget gate
    implementation: str = ""  # scan or pallas; "": chosen automatically


@BLOCKS.register("slstm", "s")
class SLSTMBlock(TwoBranches):
    """Two residual branches: x += headnorm(sLSTM(.)), then x += feedforward(norm(x)).

    The pre-activations of i, f are linear maps of SiLU(conv(norm(x))), those of z, o of norm(x). The maps are
    block-diagonal over heads. So is the recurrent matrix, which is initially zero.
    Beck et al. 2024 (arXiv 2405.04517), figure 10 and section 2.4.

    With `proj_factor`, the sLSTM replaces the mLSTM in the mLSTM block: [a, z] = W_up norm(x), a replaces norm(x)
    above, and the branch ends with W_down(h * SiLU(z)). With `ffn_factor` 0 there is no second branch.
    """

    Config = SLSTMBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        block, features, dtype = config.options(SLSTMBlockConfig), config.features, jnp.dtype(config.dtype)
        heads, num_blocks = block.num_heads, len(config.layers)
        inner = inner_width(config, block, "proj_factor" if block.proj_factor else None, heads=heads)
        width = inner // heads
        init = small_init(features)
        self.config, self.dtype = block, dtype
        self.norm = layer_norm(features, dtype=dtype, rngs=rngs)
        self.up = linear(features, 2 * inner, init, dtype=dtype, rngs=rngs) if block.proj_factor else None
        self.conv = CausalConv(inner, block.conv_width, dtype=dtype, rngs=rngs) if block.conv_width else None
        self.i, self.f, self.z, self.o = (Headwise(inner, width, init, dtype=dtype, rngs=rngs) for _ in range(4))
        self.recurrent = nnx.Param(jnp.zeros((4, heads, width, width), jnp.float32))
        depth = index / (num_blocks - 1) if num_blocks > 1 else 0.0
        bias = jnp.zeros((4, heads, width), jnp.float32).at[1].set(forget_bias_init(heads, width, depth))
        self.bias = nnx.Param(bias, decay=False)
        self.head_norm = HeadNorm(heads, width, dtype=dtype, rngs=rngs)
        down = {"axes": ("inner", "embed"), "dtype": dtype, "rngs": rngs}
        self.down = linear(inner, features, wang_init(features, num_blocks), **down) if block.proj_factor else None
        self.ffn_norm, self.ffn = post_projection(features, block.ffn_factor, num_blocks, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return "an sLSTM is sequential, each step needs the output of the previous one"

    def init_carry(self, batch: int) -> SLSTMCarry:
        _, heads, width, _ = self.recurrent.shape
        conv = self.conv.init_carry(batch) if self.conv is not None else None
        return SLSTMCarry(conv=conv, state=empty_state((batch, heads, width), state_dtype(self.dtype)))

    def mix(self, u, carry: SLSTMCarry | None, masks):
        carry = carry or SLSTMCarry(None, None)
        a, branch = (u, None) if self.up is None else jnp.split(self.up(u), 2, axis=-1)
        s, conv = a, None
        if self.conv is not None:
            s, conv = self.conv(a, carry.conv, **masks)
            s = jax.nn.silu(s)
        pre = jnp.stack([self.i(s), self.f(s), self.z(a), self.o(a)], axis=2)
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
        h = self.head_norm(y_BTHD)
        return (h if self.down is None else self.down(h * jax.nn.silu(branch))), SLSTMCarry(conv, state)
