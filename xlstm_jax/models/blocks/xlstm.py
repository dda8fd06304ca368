"""The block of xLSTM 7B: a matrix memory between linear projections, then a gated feed-forward layer."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.mlstm import MLSTMState, zero_state
from xlstm_jax.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Section
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.blocks.feed_forward import SwiGLU, TwoBranches
from xlstm_jax.models.config import Cap, PositiveFactor, StackConfig, inner_width, rounded_up
from xlstm_jax.nn import HeadNorm, linear, rms_norm, small_init, softcap, wang_init
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.shapes import state_dtype


@dataclasses.dataclass(frozen=True)
class XLSTMBlockConfig(Section, name="model.xlstm"):
    """The block of xLSTM 7B."""

    num_heads: PositiveInt = 4  # heads of the matrix memory
    qk_factor: PositiveFactor = 0.5  # total width of the queries, and of the keys, over model width
    v_factor: PositiveFactor = 1.0  # total width of the values over model width
    ffn_factor: PositiveFactor = 2.667  # feed-forward width over model width
    ffn_multiple: PositiveInt = 64  # the feed-forward width is rounded up to a multiple of it
    ffn_features: NonNegativeInt = 0  # feed-forward width; 0: from ffn_factor
    gate_softcap: Cap = 15.0  # soft cap of the pre-activations of i and f
    norm_eps: PositiveFloat = 1e-6  # eps of the block's RMS norms and head norm
    eps: NonNegativeFloat = 1e-6  # added to the mLSTM's denominator
    chunk_size: NonNegativeInt = 0  # steps per chunk of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # a name in ops.mlstm.IMPLEMENTATIONS; "": chosen from the length

    def ffn_width(self, features: int) -> int:
        """The feed-forward width F for a model of that width."""
        return self.ffn_features or rounded_up(self.ffn_factor * features, self.ffn_multiple)


@BLOCKS.register("xlstm", "x")
class XLSTMBlock(TwoBranches):
    """Two residual branches: x += W_out(sigmoid(o) * headnorm(mLSTM(q, k, v, i, f))), then x += SwiGLU(rmsnorm(x)),

        q, k, v, o = W rmsnorm(x)          i, f = softcap(W rmsnorm(x) + b, 15)     one value per head

    with eps in the mLSTM's denominator. There is no convolution and no sLSTM, so the block is parallel over time.
    Beck et al. 2025 (arXiv 2503.13427), section 3. Initially, the kernels of i, f and o are zero, the bias of i is -10,
    and the bias of f is 3 to 6 over heads.
    """

    Config = XLSTMBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.options(XLSTMBlockConfig), config.features, jnp.dtype(config.dtype)
        heads = block.num_heads
        keys, values = (inner_width(config, block, factor, heads=heads) for factor in ("qk_factor", "v_factor"))
        init, zeros = small_init(features), nnx.initializers.zeros
        last = wang_init(features, len(config.layers))
        self.config, self.dtype, self.sizes = block, dtype, (heads, keys // heads, values // heads)
        self.norm = rms_norm(features, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        self.q = linear(features, keys, init, dtype=dtype, rngs=rngs)
        self.k = linear(features, keys, init, dtype=dtype, rngs=rngs)
        self.v = linear(features, values, init, dtype=dtype, rngs=rngs)
        self.o = linear(features, values, zeros, dtype=dtype, rngs=rngs)
        self.i = linear(features, heads, zeros, bias=True, dtype=state_dtype(dtype), rngs=rngs)
        self.f = linear(features, heads, zeros, bias=True, dtype=state_dtype(dtype), rngs=rngs)
        self.i.bias[...] = jnp.full((heads,), -10.0, jnp.float32)
        self.f.bias[...] = jnp.linspace(3.0, 6.0, heads, dtype=jnp.float32)
        self.head_norm = HeadNorm(heads, values // heads, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        self.out = linear(values, features, last, axes=("inner", "embed"), dtype=dtype, rngs=rngs)
        self.ffn_norm = rms_norm(features, eps=block.norm_eps, dtype=dtype, rngs=rngs)
        self.ffn = SwiGLU(features, block.ffn_width(features), last, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return ""

    def init_carry(self, batch: int) -> MLSTMState:
        return zero_state((batch,), *self.sizes, state_dtype(self.dtype))

    def mix(self, u, carry: MLSTMState | None, masks):
        heads, keys, values = self.sizes
        q_BTHK, k_BTHK, v_BTHV = (
            map_(u).reshape(*u.shape[:2], heads, size)
            for map_, size in ((self.q, keys), (self.k, keys), (self.v, values))
        )
        i_BTH, f_BTH = (softcap(gate(u.astype(state_dtype(u))), self.config.gate_softcap) for gate in (self.i, self.f))
        h_BTHV, state = mlstm(
            q_BTHK,
            k_BTHK,
            v_BTHV,
            i_BTH,
            f_BTH,
            state=carry,
            reset_BT=masks["reset"],
            lengths_B=masks["lengths"],
            eps=self.config.eps,
            chunk_size=self.config.chunk_size or None,
            implementation=self.config.implementation or None,
        )
        return self.out(jax.nn.sigmoid(self.o(u)) * self.head_norm(h_BTHV)), state
