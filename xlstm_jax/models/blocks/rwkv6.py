"""RWKV-6's block (Finch): linear attention with data-dependent decay, then a squared-ReLU feed-forward layer."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells.gates import decay_rate
from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS, checked_inputs
from xlstm_jax.models.blocks.linear import last_init
from xlstm_jax.models.config import PositiveFactor, StackConfig, inner_width
from xlstm_jax.nn import HeadNorm, layer_norm, linear
from xlstm_jax.ops.conv import causal_conv
from xlstm_jax.ops.rwkv import rwkv6
from xlstm_jax.shapes import state_dtype

MIXED = "wkvrg"


class RWKV6Carry(NamedTuple):
    conv: tuple[jax.Array, jax.Array] | None  # the last inputs [B, 1, D] of both branches
    state: jax.Array | None  # S [B, H, K, K]


def _shifted(x_BTD, carry, reset, lengths):
    """Returns x_{t-1}, zero at the start, and the new carry."""
    kernel = jnp.stack([jnp.ones(x_BTD.shape[-1:], x_BTD.dtype), jnp.zeros(x_BTD.shape[-1:], x_BTD.dtype)])
    return causal_conv(x_BTD, kernel, jnp.zeros_like(kernel[0]), carry_BWD=carry, reset_BT=reset, lengths_B=lengths)


def _toward(x, other, weight):
    """x + (other - x) * weight, elementwise."""
    return x + (other - x) * jnp.broadcast_to(weight, x.shape).astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class RWKV6BlockConfig(Section, name="model.rwkv6"):
    head_features: PositiveInt = 64  # features of each head
    mix_rank: PositiveInt = 32  # rank of the maps that mix a step's input with the previous one
    decay_rank: PositiveInt = 64  # rank of the map for the decay
    ffn_factor: PositiveFactor = 3.5  # feed-forward width over model width


@BLOCKS.register("rwkv6", "w")
class RWKV6Block(nnx.Module):
    """Two residual branches over u = layernorm(x), with u' = u at the previous step:

        input of each of w, k, v, r, g   c = u + (u' - u) (mu_c + tanh((u + (u' - u) mu) A_c) B_c)
        k, v, r, g = W c              w = exp(-exp(lambda + tanh(c A) B))
        x += W_out(SiLU(g) * headnorm(rwkv6(r, k, v, w, bonus)))
        x += sigmoid(W_r c_r) * W_v relu(W_k c_k)^2       c_r, c_k = u + (u' - u) mu_r, ... mu_k, u of the new x

    Peng et al. 2024 (arXiv 2404.05892), sections 4.1.2 and 4.1.3.
    """

    Config = RWKV6BlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        block, features, dtype = config.options(RWKV6BlockConfig), config.features, jnp.dtype(config.dtype)
        heads, rest = divmod(features, block.head_features)
        if rest:
            raise UsageError(
                f"model.features {features} does not fit rwkv6.head_features {block.head_features}; must be a multiple"
            )
        self.sizes, self.dtype = (heads, block.head_features), dtype
        depth = index / max(len(config.layers) - 1, 1)
        ramp = jnp.arange(features, dtype=jnp.float32) / features
        init, small = nnx.initializers.lecun_normal(), nnx.initializers.normal(0.01)
        last = last_init(config)

        def mixing():
            # Early features of early blocks take more of the previous step.
            return nnx.Param(1 - ramp ** (1 - depth / 2))

        self.norm = layer_norm(features, dtype=dtype, rngs=rngs)
        self.mu, self.mus = mixing(), nnx.Param(jnp.stack([mixing()[...]] * len(MIXED)))
        rank = block.mix_rank
        self.mix_down = nnx.Param(small(rngs.params(), (features, len(MIXED) * rank), jnp.float32))
        self.mix_up = nnx.Param(small(rngs.params(), (len(MIXED), rank, features), jnp.float32))
        # Decay per step from e^(-e^-6) to e^(-e^-1) over features.
        self.decay = nnx.Param(-6 + 5 * ramp ** (0.7 + 1.3 * depth))
        self.decay_down = nnx.Param(small(rngs.params(), (features, block.decay_rank), jnp.float32))
        self.decay_up = nnx.Param(small(rngs.params(), (block.decay_rank, features), jnp.float32))
        self.bonus = nnx.Param((0.5 * (1 - ramp)).reshape(self.sizes), decay=False)
        self.k, self.v, self.r, self.g = (linear(features, features, init, dtype=dtype, rngs=rngs) for _ in range(4))
        self.head_norm = HeadNorm(*self.sizes, eps=64e-5, dtype=dtype, rngs=rngs)
        self.out = linear(features, features, last, axes=("inner", "embed"), dtype=dtype, rngs=rngs)
        self.ffn_norm = layer_norm(features, dtype=dtype, rngs=rngs)
        inner = inner_width(config, block, "ffn_factor")
        self.ffn_mu_r, self.ffn_mu_k = mixing(), mixing()
        self.ffn_r = linear(features, features, init, dtype=dtype, rngs=rngs)
        self.ffn_k = linear(features, inner, init, dtype=dtype, rngs=rngs)
        self.ffn_v = linear(inner, features, last, axes=("inner", "embed"), dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return "it cannot combine its states across devices"

    def init_carry(self, batch: int) -> RWKV6Carry:
        heads, width = self.sizes
        time, channel = (jnp.zeros((batch, 1, heads * width), self.dtype) for _ in range(2))
        return RWKV6Carry((time, channel), jnp.zeros((batch, heads, width, width), state_dtype(self.dtype)))

    def __call__(self, x_BTD, carry: RWKV6Carry | None, *, reset=None, lengths=None, key=None):
        x_BTD, reset, lengths = checked_inputs(self, self.norm.num_features, x_BTD, carry, reset, lengths)
        (before, ffn_before), state = carry or RWKV6Carry((None, None), None)
        keys = (None, None) if key is None else jax.random.split(key)
        u = self.norm(x_BTD)
        shifted, before = _shifted(u, before, reset, lengths)
        w, k, v, r, g = self._mixed(u, shifted)
        heads = (*u.shape[:2], *self.sizes)
        low = jnp.tanh(w.astype(state_dtype(w)) @ self.decay_down[...]) @ self.decay_up[...]
        log_w = -decay_rate(low + jnp.broadcast_to(self.decay[...], low.shape))
        o_BTHV, state = rwkv6(
            self.r(r).reshape(heads),
            self.k(k).reshape(heads),
            self.v(v).reshape(heads),
            log_w.reshape(heads),
            self.bonus[...],
            state=state,
            reset_BT=reset,
            lengths_B=lengths,
        )
        y = self.out(jax.nn.silu(self.g(g)) * self.head_norm(o_BTHV))
        x_BTD = x_BTD + self.dropout(y, deterministic=key is None, rngs=keys[0])
        u = self.ffn_norm(x_BTD)
        shifted, ffn_before = _shifted(u, ffn_before, reset, lengths)
        squared = jax.nn.relu(self.ffn_k(_toward(u, shifted, self.ffn_mu_k[...]))) ** 2
        y = jax.nn.sigmoid(self.ffn_r(_toward(u, shifted, self.ffn_mu_r[...]))) * self.ffn_v(squared)
        x_BTD = x_BTD + self.dropout(y, deterministic=key is None, rngs=keys[1])
        return x_BTD, RWKV6Carry((before, ffn_before), state)

    def _mixed(self, u, shifted):
        """Yields five mixtures of a step's input and the previous one, with weights computed from both."""
        low = jnp.tanh(_toward(u, shifted, self.mu[...]) @ self.mix_down[...].astype(u.dtype))
        low = low.reshape(*u.shape[:2], len(MIXED), self.mix_up.shape[1])
        weights = jnp.einsum("btmr,mrd->mbtd", low, self.mix_up[...].astype(u.dtype))
        for weight, mu in zip(weights, self.mus[...], strict=True):
            yield _toward(u, shifted, weight + jnp.broadcast_to(mu, u.shape).astype(u.dtype))
