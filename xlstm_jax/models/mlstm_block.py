"""The xLSTM paper's mLSTM block: pre up-projection around a matrix memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.mlstm import MLSTMState, gate_bias_init, zero_state
from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.nn import CausalConv, HeadNorm, Headwise, layer_norm, linear, small_init, wang_init
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.shapes import state_dtype


class MLSTMCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner]
    state: MLSTMState | None


@BLOCKS.register("m")
class MLSTMBlock(nnx.Module):
    """x + W_down((h + skip * s) * SiLU(z)), with

        [a, z] = W_up norm(x)          s = SiLU(conv(a))
        q, k from s, v from a          by block-diagonal maps
        i, f = W_if [q, k, v] + b_if   one value a head
        h = headnorm(mLSTM(q, k, v, i, f))

    Beck et al. 2024 (arXiv 2405.04517), figure 11 and section 2.4.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.mlstm, config.features, jnp.dtype(config.dtype)
        inner = round(block.proj_factor * features)
        init = small_init(features)
        self.config = block
        self.norm = layer_norm(features, dtype=dtype, rngs=rngs)
        self.up = linear(features, 2 * inner, init, dtype=dtype, rngs=rngs)
        self.conv = CausalConv(inner, block.conv_width, dtype=dtype, rngs=rngs) if block.conv_width else None
        self.q = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.k = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.v = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.gates = linear(
            3 * inner, 2 * block.num_heads, nnx.initializers.zeros, bias=True, dtype=state_dtype(dtype), rngs=rngs
        )
        self.gates.bias[...] = jnp.concatenate(gate_bias_init(rngs.params(), block.num_heads))
        self.head_norm = HeadNorm(block.num_heads, inner // block.num_heads, dtype=dtype, rngs=rngs)
        self.skip = nnx.Param(jnp.ones((inner,), jnp.float32))
        self.down = linear(
            inner, features, wang_init(features, len(config.letters)), axes=("inner", "embed"), dtype=dtype, rngs=rngs
        )
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: ModelConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> MLSTMCarry:
        heads, inner = self.config.num_heads, self.skip.shape[0]
        conv = self.conv.init_carry(batch) if self.conv is not None else None
        return MLSTMCarry(conv=conv, state=zero_state((batch,), heads, inner // heads, inner // heads))

    def __call__(self, x_BTD, carry: MLSTMCarry | None, *, reset=None, lengths=None, key=None):
        carry = carry or MLSTMCarry(None, None)
        a, z = jnp.split(self.up(self.norm(x_BTD)), 2, axis=-1)
        s, conv = a, None
        if self.conv is not None:
            s, conv = self.conv(a, carry.conv, reset=reset, lengths=lengths)
            s = jax.nn.silu(s)
        q, k, v = self.q(s), self.k(s), self.v(a)
        i_BTH, f_BTH = jnp.split(self.gates(jnp.concatenate([q, k, v], axis=-1)), 2, axis=-1)
        q_BTHK, k_BTHK, v_BTHV = (u.reshape(*u.shape[:2], self.config.num_heads, -1) for u in (q, k, v))
        h_BTHV, state = mlstm(
            q_BTHK,
            k_BTHK,
            v_BTHV,
            i_BTH,
            f_BTH,
            state=carry.state,
            reset_BT=reset,
            lengths_B=lengths,
            input_gate=self.config.input_gate,
            forget_gate=self.config.forget_gate,
            chunk_size=self.config.chunk_size or None,
            implementation=self.config.implementation or None,
        )
        h = self.head_norm(h_BTHV)
        skip = jnp.broadcast_to(self.skip[...].astype(s.dtype), s.shape)
        y = self.down((h + skip * s) * jax.nn.silu(z))
        return x_BTD + self.dropout(y, deterministic=key is None, rngs=key), MLSTMCarry(conv, state)
