"""The xLSTM paper's mLSTM block: a matrix memory with pre up-projection."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.mlstm import MLSTMState, gate_bias_init, zero_state
from xlstm_jax.config import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveInt, Section
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.feed_forward import TwoBranches, post_projection
from xlstm_jax.models.config import Factor, PositiveFactor, StackConfig, Taps, inner_width
from xlstm_jax.nn import CausalConv, HeadNorm, Headwise, layer_norm, linear, small_init, wang_init
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.shapes import state_dtype


@dataclasses.dataclass(frozen=True)
class MLSTMBlockConfig(Section, name="model.mlstm"):
    num_heads: PositiveInt = 4  # heads of the matrix memory
    proj_factor: PositiveFactor = 2.0  # inner width over model width
    qkv_block_size: PositiveInt = 4  # size of the blocks of the block-diagonal q, k, v maps
    conv_width: Taps = 4  # taps of the causal convolution; 0: none
    ffn_factor: Factor = 0.0  # width of a feed-forward layer after the block over model width; 0: none
    input_gate: Literal["exp", "sigmoid"] = "exp"  # activation of the input gate
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"  # activation of the forget gate
    # A gate's pre-activation: a linear map of q, k, v plus a bias; only the bias; or only the bias, not trained.
    input_gate_form: Literal["linear", "bias", "fixed"] = "linear"
    forget_gate_form: Literal["linear", "bias", "fixed"] = "linear"  # as input_gate_form
    input_bias_mean: FiniteFloat = 0.0  # mean of the input gate's initial bias, which is normal
    input_bias_std: NonNegativeFloat = 0.1  # standard deviation of the input gate's initial bias
    forget_bias_low: FiniteFloat = 3.0  # initial forget gate bias of the first head; the heads are evenly spaced
    forget_bias_high: FiniteFloat = 6.0  # initial forget gate bias of the last head
    chunk_size: NonNegativeInt = 0  # steps per chunk of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # recurrent, parallel, chunkwise, associative or pallas; "": chosen from the length


class MLSTMCarry(NamedTuple):
    conv: jax.Array | None  # [B, W-1, inner]
    state: MLSTMState | None


class Gates(nnx.Module):
    """Pre-activations i, f, each [B, T, H]: W x + b, or only b, trained or fixed."""

    def __init__(self, in_features: int, config: MLSTMBlockConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.forms, self.heads, self.dtype = (config.input_gate_form, config.forget_gate_form), config.num_heads, dtype
        columns = self.forms.count("linear") * self.heads
        zeros = jnp.zeros((in_features, columns), jnp.float32)
        self.kernel = nnx.Param(zeros, axes=("embed", "inner")) if columns else None
        key = [rngs.params() for _ in range(3)][-1]  # skips two keys, so that seeds give the same values as before
        start = gate_bias_init(
            key,
            self.heads,
            input_mean=config.input_bias_mean,
            input_std=config.input_bias_std,
            forget_low=config.forget_bias_low,
            forget_high=config.forget_bias_high,
        )
        self.bias = nnx.Param(jnp.concatenate(start))

    def __call__(self, x_BTD: jax.Array) -> tuple[jax.Array, jax.Array]:
        mapped = iter(())
        if self.kernel is not None:
            product = x_BTD.astype(self.dtype) @ self.kernel[...].astype(self.dtype)
            mapped = iter(jnp.split(product, product.shape[-1] // self.heads, axis=-1))

        def gate(form: str, bias_H: jax.Array) -> jax.Array:
            bias_H = jax.lax.stop_gradient(bias_H) if form == "fixed" else bias_H
            bias_BTH = jnp.broadcast_to(bias_H.astype(self.dtype), (*x_BTD.shape[:2], self.heads))
            return next(mapped) + bias_BTH if form == "linear" else bias_BTH

        i_BTH, f_BTH = (gate(*pair) for pair in zip(self.forms, jnp.split(self.bias[...], 2), strict=True))
        return i_BTH, f_BTH


@BLOCKS.register("mlstm", "m")
class MLSTMBlock(TwoBranches):
    """x + W_down((h + skip * s) * SiLU(z)), with

        [a, z] = W_up norm(x)          s = SiLU(conv(a))
        q, k from s, v from a          by block-diagonal maps
        i, f = W_if [q, k, v] + b_if   one value per head
        h = headnorm(mLSTM(q, k, v, i, f))

    Beck et al. 2024 (arXiv 2405.04517), figure 11 and section 2.4.

    With `ffn_factor`, the sLSTM block's feed-forward branch follows. With `proj_factor` 1 as well, this is the mLSTM in
    a post up-projection block. `input_gate_form` and `forget_gate_form` can leave out W_if (table 2 of the paper).
    """

    Config = MLSTMBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.options(MLSTMBlockConfig), config.features, jnp.dtype(config.dtype)
        inner = inner_width(config, block, "proj_factor", heads=block.num_heads)
        if inner % (size := block.qkv_block_size):
            raise UsageError(f"model.mlstm.qkv_block_size {size} is not allowed; must divide the inner width {inner}")
        init = small_init(features)
        self.config, self.dtype = block, dtype
        self.norm = layer_norm(features, dtype=dtype, rngs=rngs)
        self.up = linear(features, 2 * inner, init, dtype=dtype, rngs=rngs)
        self.conv = CausalConv(inner, block.conv_width, dtype=dtype, rngs=rngs) if block.conv_width else None
        self.q = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.k = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.v = Headwise(inner, block.qkv_block_size, init, dtype=dtype, rngs=rngs)
        self.gates = Gates(3 * inner, block, dtype=state_dtype(dtype), rngs=rngs)
        self.head_norm = HeadNorm(block.num_heads, inner // block.num_heads, dtype=dtype, rngs=rngs)
        self.skip = nnx.Param(jnp.ones((inner,), jnp.float32))
        self.down = linear(
            inner, features, wang_init(features, len(config.layers)), axes=("inner", "embed"), dtype=dtype, rngs=rngs
        )
        self.ffn_norm, self.ffn = post_projection(
            features, block.ffn_factor, len(config.layers), dtype=dtype, rngs=rngs
        )
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> MLSTMCarry:
        heads, inner = self.config.num_heads, self.skip.shape[0]
        conv = self.conv.init_carry(batch) if self.conv is not None else None
        state = zero_state((batch,), heads, inner // heads, inner // heads, state_dtype(self.dtype))
        return MLSTMCarry(conv=conv, state=state)

    def mix(self, u, carry: MLSTMCarry | None, masks):
        carry = carry or MLSTMCarry(None, None)
        a, z = jnp.split(self.up(u), 2, axis=-1)
        s, conv = a, None
        if self.conv is not None:
            s, conv = self.conv(a, carry.conv, **masks)
            s = jax.nn.silu(s)
        q, k, v = self.q(s), self.k(s), self.v(a)
        i_BTH, f_BTH = self.gates(jnp.concatenate([q, k, v], axis=-1))
        heads = self.config.num_heads
        q_BTHK, k_BTHK, v_BTHV = (x.reshape(*x.shape[:2], heads, x.shape[-1] // heads) for x in (q, k, v))
        h_BTHV, state = mlstm(
            q_BTHK,
            k_BTHK,
            v_BTHV,
            i_BTH,
            f_BTH,
            state=carry.state,
            reset_BT=masks["reset"],
            lengths_B=masks["lengths"],
            input_gate=self.config.input_gate,
            forget_gate=self.config.forget_gate,
            chunk_size=self.config.chunk_size or None,
            implementation=self.config.implementation or None,
        )
        h = self.head_norm(h_BTHV)
        skip = jnp.broadcast_to(self.skip[...].astype(s.dtype), s.shape)
        return self.down((h + skip * s) * jax.nn.silu(z)), MLSTMCarry(conv, state)
