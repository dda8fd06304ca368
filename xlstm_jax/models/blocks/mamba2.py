"""Mamba-2's block: a state space model with one scalar decay per head, run by the mLSTM's core."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.gates import decay_rate
from xlstm_jax.config import NonNegativeInt, PositiveFloat, PositiveInt, Section
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS, checked_inputs
from xlstm_jax.models.config import PositiveFactor, PositiveTaps, StackConfig, inner_width
from xlstm_jax.nn import CausalConv, linear, rms_norm
from xlstm_jax.ops.linear_attention import ssd
from xlstm_jax.shapes import state_dtype


class Mamba2Carry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner + 2 G N]
    state: jax.Array | None  # S [B, H, N, P]


@dataclasses.dataclass(frozen=True)
class Mamba2BlockConfig(Section, name="model.mamba2"):
    expansion: PositiveFactor = 2.0  # inner width over model width
    head_features: PositiveInt = 64  # inner features of each head
    state_features: PositiveInt = 128  # N, features of the state
    num_groups: PositiveInt = 1  # groups of heads that share B and C
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    norm_eps: PositiveFloat = 1e-5  # eps of the block's RMS norms
    chunk_size: NonNegativeInt = 0  # steps per chunk of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # a name in ops.mlstm.IMPLEMENTATIONS; "": chosen from the length


@BLOCKS.register("mamba2", "d")
class Mamba2Block(nnx.Module):
    """x + W_out rmsnorm(SSD(x', dt, A, B, C, D) * SiLU(z)), with

        [z, u, dt] = W_in rmsnorm(x)      [x', B, C] = SiLU(conv(u))      dt = softplus(dt + b)

    Dao & Gu 2024 (arXiv 2405.21060), section 7. Initially, -A is uniform in 1 to 16, dt is log-uniform in 0.001 to 0.1,
    and D is 1. There is no feed-forward layer.
    """

    Config = Mamba2BlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.options(Mamba2BlockConfig), config.features, jnp.dtype(config.dtype)
        inner, groups, state = inner_width(config, block, "expansion"), block.num_groups, block.state_features
        heads, rest = divmod(inner, block.head_features)
        if rest or heads % groups:
            raise UsageError(
                f"model.features {features} does not fit mamba2; the inner width {inner} must be a multiple of "
                f"head_features {block.head_features}, and the number of heads a multiple of num_groups {groups}"
            )
        self.config, self.dtype, self.heads = block, dtype, heads
        self.widths = inner, groups * state
        init = nnx.initializers.lecun_normal()
        self.norm = rms_norm(features, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        mixed = inner + 2 * groups * state
        self.up = linear(features, inner + mixed + heads, init, dtype=dtype, rngs=rngs)
        self.conv = CausalConv(mixed, block.conv_width, dtype=dtype, rngs=rngs)
        self.A_log = nnx.Param(jnp.log(jax.random.uniform(rngs.params(), (heads,), jnp.float32, 1.0, 16.0)))
        dt = jnp.exp(jax.random.uniform(rngs.params(), (heads,), jnp.float32, math.log(1e-3), math.log(0.1)))
        self.dt_bias = nnx.Param(dt + jnp.log(-jnp.expm1(-dt)))  # inverse softplus
        self.D = nnx.Param(jnp.ones((heads,), jnp.float32))
        self.gated_norm = rms_norm(inner, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        self.down = linear(inner, features, init, axes=("inner", "embed"), dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> Mamba2Carry:
        size = self.config.state_features, self.config.head_features
        state = jnp.zeros((batch, self.heads, *size), state_dtype(self.dtype))
        return Mamba2Carry(self.conv.init_carry(batch), state)

    def __call__(self, x_BTD, carry: Mamba2Carry | None, *, reset=None, lengths=None, key=None):
        x_BTD, reset, lengths = checked_inputs(self, self.norm.num_features, x_BTD, carry, reset, lengths)
        carry = carry or Mamba2Carry(None, None)
        inner, mapped = self.widths
        z, u, dt_BTH = jnp.split(self.up(self.norm(x_BTD)), (inner, 2 * inner + 2 * mapped), axis=-1)
        u, conv = self.conv(u, carry.conv, reset=reset, lengths=lengths)
        x, B, C = jnp.split(jax.nn.silu(u), (inner, inner + mapped), axis=-1)

        def split(a, size):
            return a.reshape(*a.shape[:2], a.shape[-1] // size, size)

        dt_BTH = dt_BTH.astype(state_dtype(dt_BTH))
        y_BTHP, state = ssd(
            split(x, self.config.head_features),
            jax.nn.softplus(dt_BTH + jnp.broadcast_to(self.dt_bias[...], dt_BTH.shape)),
            -decay_rate(self.A_log[...]),
            split(B, self.config.state_features),
            split(C, self.config.state_features),
            self.D[...],
            state=carry.state,
            reset_BT=reset,
            lengths_B=lengths,
            chunk_size=self.config.chunk_size or None,
            implementation=self.config.implementation or None,
        )
        y = self.down(self.gated_norm(y_BTHP.reshape(z.shape) * jax.nn.silu(z)))
        return x_BTD + self.dropout(y, deterministic=key is None, rngs=key), Mamba2Carry(conv, state)
