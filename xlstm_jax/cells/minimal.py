"""minLSTM and minGRU: the gates see only the input, so all steps can run in parallel."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, HiddenCarry, LinearCell
from xlstm_jax.checks import check_config
from xlstm_jax.shapes import state_dtype


@dataclasses.dataclass(frozen=True)
class MinimalConfig:
    """`activation` of the candidate: "identity", or "positive" (x + 1/2 for x >= 0, sigmoid(x) below), which the paper
    uses to keep the state positive."""

    in_features: int
    features: int
    bias: bool = True
    activation: Literal["identity", "positive"] = "identity"

    def __post_init__(self):
        check_config(self)


class _Minimal(LinearCell):
    """Shared by both cells: weights w_x [D, G F] and b [G F], the carry h, y = h'."""

    Config = MinimalConfig
    init_carry = HiddenCarry.zeros
    gates = 2

    @classmethod
    def init(cls, key: jax.Array, config: MinimalConfig) -> CellParams:
        shape = (config.in_features, cls.gates * config.features)
        weights = {"w_x": jax.nn.initializers.lecun_normal()(key, shape, jnp.float32)}
        if config.bias:
            weights["b"] = jnp.zeros(shape[1:], jnp.float32)
        return CellParams(config, weights)

    @staticmethod
    def output(carry: HiddenCarry) -> jax.Array:
        return carry.h


def _candidate(x: jax.Array, config: MinimalConfig) -> jax.Array:
    return x if config.activation == "identity" else jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


def _parts(u: jax.Array, count: int) -> list[jax.Array]:
    """Pre-activations in the state's dtype: bfloat16 has no gate values between 0.996 and 1."""
    return jnp.split(u.astype(state_dtype(u)), count, axis=-1)


def _lost(z: jax.Array) -> HiddenCarry:
    """The rounding error of 1 - sigmoid(z)."""
    a, room = (jax.lax.stop_gradient(jax.nn.sigmoid(signed)) for signed in (-z, z))
    # 1 - a is exact here.
    return HiddenCarry(jnp.where(a > 0.5, (1 - a) - room, jnp.zeros_like(a)))


@CELLS.register("mingru")
class MinGRU(_Minimal):
    """z = sigmoid(x W_z + b_z)    n = g(x W_n + b_n)    h' = (1 - z) h + z n. Feng et al. 2024 (arXiv 2410.01201).

    Section 3.1 of the paper; g is `config.activation`. Order z, n.
    """

    @staticmethod
    def coefficients(params: CellParams, u: jax.Array) -> tuple[HiddenCarry, HiddenCarry]:
        z, n = _parts(u, 2)
        return HiddenCarry(jax.nn.sigmoid(-z)), HiddenCarry(jax.nn.sigmoid(z) * _candidate(n, params.config))

    @staticmethod
    def lost(params: CellParams, u: jax.Array) -> HiddenCarry:
        del params
        return _lost(_parts(u, 2)[0])


@CELLS.register("minlstm")
class MinLSTM(_Minimal):
    """f, i = sigmoid(x W + b)    n = g(x W_n + b_n)    h' = (f h + i n) / (f + i). Feng et al. 2024, section 3.2.

    arXiv 2410.01201; g is `config.activation`. Order f, i, n.
    """

    gates = 3

    @staticmethod
    def coefficients(params: CellParams, u: jax.Array) -> tuple[HiddenCarry, HiddenCarry]:
        f, i, n = _parts(u, 3)
        ratio = _ratio(f, i)
        return HiddenCarry(jax.nn.sigmoid(ratio)), HiddenCarry(jax.nn.sigmoid(-ratio) * _candidate(n, params.config))

    @staticmethod
    def lost(params: CellParams, u: jax.Array) -> HiddenCarry:
        del params
        return _lost(-_ratio(*_parts(u, 3)[:2]))


def _ratio(f: jax.Array, i: jax.Array) -> jax.Array:
    """log f - log i, whose sigmoid is f / (f + i); avoids dividing two small numbers."""
    # Finite, so two gates that are both shut share equally, like any two equal gates.
    f, i = (jnp.maximum(gate, jnp.finfo(gate.dtype).min) for gate in (f, i))
    return jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
