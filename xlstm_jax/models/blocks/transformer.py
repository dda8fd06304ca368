"""Llama's Transformer block: a baseline whose memory is every step of a window."""

import dataclasses
import math

import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeInt, PositiveFloat, PositiveInt, RotaryBase, Section
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.feed_forward import SwiGLU, TwoBranches
from xlstm_jax.models.config import PositiveFactor, StackConfig, rounded_up
from xlstm_jax.nn import linear, rms_norm
from xlstm_jax.ops.attention import KVCache, attention, empty_cache


@dataclasses.dataclass(frozen=True)
class TransformerBlockConfig(Section, name="model.transformer"):
    num_heads: PositiveInt = 4  # heads of queries
    num_kv_heads: NonNegativeInt = 0  # heads of keys and values, each shared by a group of query heads; 0: num_heads
    window: PositiveInt = 2048  # number of steps that a step attends to, including itself
    rotary_base: RotaryBase = 10_000.0  # base of the angles of rotary positions
    ffn_factor: PositiveFactor = 8 / 3  # feed-forward width over model width
    ffn_multiple: PositiveInt = 64  # the feed-forward width is rounded up to a multiple of it
    norm_eps: PositiveFloat = 1e-5  # eps of the block's RMS norms


@BLOCKS.register("transformer", "t")
class TransformerBlock(TwoBranches):
    """Two residual branches: x += W_o attention(q, k, v), q, k, v = W rmsnorm(x), then x += SwiGLU(rmsnorm(x)).

    Rotary positions, grouped queries, and a sliding window of `window` steps, so that a sequence can be read in pieces
    and text of any length generated in constant memory. Touvron et al. 2023 (arXiv 2302.13971, 2307.09288).
    Kernels are initially normal with standard deviation 0.02, divided by sqrt(2 NB) for the last kernel of a branch,
    with NB blocks in the stack.
    """

    Config = TransformerBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.options(TransformerBlockConfig), config.features, jnp.dtype(config.dtype)
        heads, groups = block.num_heads, block.num_kv_heads or block.num_heads
        width = features // heads
        if features % heads or width % 2 or heads % groups:
            raise UsageError(
                f"model.features {features} does not fit transformer.num_heads {heads}, num_kv_heads {groups}; "
                "features per head must be even, and num_heads a multiple of num_kv_heads"
            )
        self.config, self.sizes = block, (heads, groups, width)
        first = nnx.initializers.normal(0.02)
        last = nnx.initializers.normal(0.02 / math.sqrt(2 * len(config.layers)))
        self.norm = rms_norm(features, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        self.q = linear(features, features, first, dtype=dtype, rngs=rngs)
        self.k = linear(features, groups * width, first, dtype=dtype, rngs=rngs)
        self.v = linear(features, groups * width, first, dtype=dtype, rngs=rngs)
        self.out = linear(features, features, last, axes=("inner", "embed"), dtype=dtype, rngs=rngs)
        self.ffn_norm = rms_norm(features, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        inner = rounded_up(block.ffn_factor * features, block.ffn_multiple)
        self.ffn = SwiGLU(features, inner, last, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)
        self.dtype = dtype

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return "attention needs the keys and values of earlier steps, not a state of fixed size"

    def init_carry(self, batch: int) -> KVCache:
        _, groups, width = self.sizes
        return empty_cache(batch, self.config.window, groups, width, self.dtype)

    def mix(self, u, carry: KVCache | None, masks):
        heads, groups, width = self.sizes
        q_BTHK, k_BTGK, v_BTGK = (
            map_(u).reshape(*u.shape[:2], count, width)
            for map_, count in ((self.q, heads), (self.k, groups), (self.v, groups))
        )
        y_BTHK, carry = attention(
            q_BTHK,
            k_BTGK,
            v_BTGK,
            window=self.config.window,
            base=self.config.rotary_base,
            cache=carry,
            reset_BT=masks["reset"],
            lengths_B=masks["lengths"],
        )
        return self.out(y_BTHK.reshape(u.shape)), carry
