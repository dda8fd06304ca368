"""LSTM variants: the 1997 original, peepholes and the eight of the search space odyssey, layer norm, projection."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, RecurrentConfig, gate_weights, recurrent_dot
from xlstm_jax.cells.lstm import LSTM, LSTMCarry, LSTMConfig, Wiring, memory
from xlstm_jax.checks import check_sizes
from xlstm_jax.shapes import state_dtype


def _identity(x: jax.Array) -> jax.Array:
    return x


def _squash_in_1997(x: jax.Array) -> jax.Array:
    return 2 * jnp.tanh(x / 2)


def _squash_out_1997(x: jax.Array) -> jax.Array:
    return jnp.tanh(x / 2)


@CELLS.register("lstm_1997")
class LSTM1997(LSTM):
    """The constant error carousel, without a forget gate: c' = c + i g(z), h' = o h(c'). Hochreiter & Schmidhuber 1997.

    Uses the paper's squashing functions, g(x) = 4 sigmoid(x) - 2 in (-2, 2) and h(x) = 2 sigmoid(x) - 1 (appendix A.1).
    Gradients are full; the paper truncates them. Order i, z, o.
    """

    Config = RecurrentConfig
    wiring = Wiring("izo", squash_in=_squash_in_1997, squash_out=_squash_out_1997)


@CELLS.register("lstm_peephole")
class PeepholeLSTM(LSTM):
    """`lstm` whose gates see the cell state: i and f add p * c, o adds p_o * c' before its sigmoid.

    Gers & Schmidhuber 2000; the "vanilla LSTM" of Greff et al. 2015 (arXiv 1503.04069). p [3, F] in the order i, f, o.
    """

    wiring = Wiring(peepholes=True)


@CELLS.register("lstm_nig")
class NoInputGate(LSTM):
    """`lstm_peephole` with i = 1. Order f, z, o. Greff et al. 2015 (arXiv 1503.04069), section III-C."""

    wiring = Wiring("fzo", peepholes=True)


@CELLS.register("lstm_nfg")
class NoForgetGate(LSTM):
    """`lstm_peephole` with f = 1. Order i, z, o. Greff et al. 2015 (arXiv 1503.04069), section III-C."""

    Config = RecurrentConfig
    wiring = Wiring("izo", peepholes=True)


@CELLS.register("lstm_nog")
class NoOutputGate(LSTM):
    """`lstm_peephole` with o = 1. Order i, f, z. Greff et al. 2015 (arXiv 1503.04069), section III-C."""

    wiring = Wiring("ifz", peepholes=True)


@CELLS.register("lstm_niaf")
class NoInputActivation(LSTM):
    """`lstm_peephole` with z not squashed. Greff et al. 2015 (arXiv 1503.04069), section III-C."""

    wiring = Wiring(peepholes=True, squash_in=_identity)


@CELLS.register("lstm_noaf")
class NoOutputActivation(LSTM):
    """`lstm_peephole` with h' = o c'. Greff et al. 2015 (arXiv 1503.04069), section III-C."""

    wiring = Wiring(peepholes=True, squash_out=_identity)


@CELLS.register("lstm_cifg")
class CoupledGates(LSTM):
    """`lstm_peephole` with f = 1 - i. Order i, z, o; the bias of i starts at -forget_bias.

    Greff et al. 2015 (arXiv 1503.04069), section III-C.
    """

    wiring = Wiring("izo", coupled=True, peepholes=True)


class GatesCarry(NamedTuple):
    c: jax.Array  # [B, F]  cell state
    h: jax.Array  # [B, F]  output
    g: jax.Array  # [B, 3F] the previous activations of the gates i, f, o
    output_field = "h"


@CELLS.register("lstm_fgr")
class FullGateRecurrence(LSTM):
    """`lstm_peephole` whose gates i, f, o also see all three gates of the previous step, through w_g [3F, 3F].

    The gates in the carry start at zero. Greff et al. 2015 (arXiv 1503.04069), section III-C.
    """

    wiring = Wiring(peepholes=True)
    additive = False

    @classmethod
    def init(cls, key: jax.Array, config: LSTMConfig) -> CellParams:
        key, key_g = jax.random.split(key)
        params = super().init(key, config)
        gates = dataclasses.replace(config, in_features=1, bias=False)
        parts = [gate_weights(k, gates, gates=3)["w_h"] for k in jax.random.split(key_g, 3)]
        return CellParams(config, {**params, "w_g": jnp.concatenate(parts)})

    @classmethod
    def init_carry(cls, config: LSTMConfig, batch_shape: tuple[int, ...]) -> GatesCarry:
        return GatesCarry(*super().init_carry(config, batch_shape), jnp.zeros((*batch_shape, 3 * config.features)))

    @staticmethod
    def feedback(carry: GatesCarry) -> tuple[jax.Array, jax.Array]:
        return carry.h, carry.g

    @classmethod
    def recur(cls, params: CellParams, h: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return recurrent_dot(h[0], params["w_h"]), recurrent_dot(h[1], params["w_g"])

    @classmethod
    def update(cls, inner, carry: GatesCarry, u, v) -> tuple[GatesCarry, jax.Array]:
        pre = cls.by_letter(u.astype(carry.c.dtype) + v[0])
        for letter, part in zip("ifo", jnp.split(v[1], 3, axis=-1), strict=True):
            pre[letter] = pre[letter] + part
        c, h, gates = memory(cls.wiring, pre, carry.c, inner["p"])
        return GatesCarry(c, h, jnp.concatenate([gates["i"], gates["f"], gates["o"]], axis=-1)), h


def _normed(x: jax.Array, gain: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """gain (x - mean) / deviation + bias over the last axis; eps 1e-5; computed in at least float32."""
    y = x.astype(state_dtype(x))
    # In two passes: the mean of squares minus the squared mean loses all digits if the mean is large.
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-5)
    y = y * jnp.broadcast_to(gain.astype(y.dtype), y.shape)
    return (y if bias is None else y + jnp.broadcast_to(bias.astype(y.dtype), y.shape)).astype(x.dtype)


@CELLS.register("lstm_ln")
class LayerNormLSTM(LSTM):
    """`lstm` with layer norm (LN, over the whole last axis) on both products and on the cell state.

        i, f, z, o from LN(x W_x) g_x + LN(h W_h) g_h + b      h' = o tanh(LN(c') g_c + b_c)

    g_x, g_h [4F], g_c [F] start at 1, b_c [F] at 0. Ba, Kiros & Hinton 2016 (arXiv 1607.06450), equations 20-22,
    with the two biases of the products merged into one.
    """

    inner = ("g_h", "g_c", "b_c")
    additive = False

    @classmethod
    def init(cls, key: jax.Array, config: LSTMConfig) -> CellParams:
        features, params = config.features, super().init(key, config)
        gains = {name: jnp.ones((4 * features,), jnp.float32) for name in ("g_x", "g_h")}
        cell = {"g_c": jnp.ones((features,), jnp.float32)}
        if config.bias:
            cell["b_c"] = jnp.zeros((features,), jnp.float32)
        return CellParams(config, {**params, **gains, **cell})

    @classmethod
    def project(cls, params: CellParams, x_BTD: jax.Array) -> jax.Array:
        return _normed(x_BTD @ params["w_x"], params["g_x"], params.get("b"))

    @classmethod
    def update(cls, inner: CellParams, carry: LSTMCarry, u: jax.Array, v: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        pre = cls.by_letter(u.astype(carry.c.dtype) + _normed(v, inner["g_h"]))
        wiring = dataclasses.replace(
            cls.wiring, squash_out=lambda c: jnp.tanh(_normed(c, inner["g_c"], inner.get("b_c")))
        )
        c, h, _ = memory(wiring, pre, carry.c)
        return LSTMCarry(c=c, h=h), h


@dataclasses.dataclass(frozen=True)
class ProjectedConfig(LSTMConfig):
    """`features`: width of the output; `cell_features`: width of the cell state, 4 * `features` by default."""

    cell_features: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.cell_features is not None:
            check_sizes(type(self).__name__, cell_features=self.cell_features)

    @property
    def units(self) -> int:
        return 4 * self.features if self.cell_features is None else self.cell_features


@CELLS.register("lstm_projected")
class ProjectedLSTM(LSTM):
    """`lstm` with a linear projection of its output: h' = (o tanh(c')) W_p, y = h'.

    The gates are C = `cell_features` wide: w_x [D, 4C], w_h [F, 4C], b [4C], w_p [C, F]; carry c [B, C], h [B, F].
    Sak, Senior & Beaufays 2014 (arXiv 1402.1128), equations 7-12, without peepholes, like PyTorch's `proj_size`.
    """

    Config = ProjectedConfig
    inner = ("w_p",)

    @classmethod
    def init(cls, key: jax.Array, config: ProjectedConfig) -> CellParams:
        key, key_p = jax.random.split(key)
        weights = cls.start(gate_weights(key, config, gates=4, units=config.units), config, config.units)
        weights["w_p"] = jax.nn.initializers.lecun_normal()(key_p, (config.units, config.features), jnp.float32)
        return CellParams(config, weights)

    @classmethod
    def init_carry(cls, config: ProjectedConfig, batch_shape: tuple[int, ...]) -> LSTMCarry:
        c, h = (jnp.zeros((*batch_shape, width), jnp.float32) for width in (config.units, config.features))
        return LSTMCarry(c=c, h=h)

    @classmethod
    def update(cls, inner: CellParams, carry: LSTMCarry, u: jax.Array, v: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        c, m, _ = memory(cls.wiring, cls.by_letter(u.astype(carry.c.dtype) + v), carry.c)
        h = recurrent_dot(m, inner["w_p"])
        return LSTMCarry(c=c, h=h), h
