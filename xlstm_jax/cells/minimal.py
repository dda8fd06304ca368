"""minLSTM and minGRU: gates that see the input alone, so that all steps can be taken in parallel."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, HiddenCarry, LinearCell, check_config


@dataclasses.dataclass(frozen=True)
class MinimalConfig:
    """`activation` of the candidate: "identity", or "positive", x + 1/2 above zero and sigmoid(x) below it, with which
    the paper keeps the state positive."""

    in_features: int
    features: int
    bias: bool = True
    activation: Literal["identity", "positive"] = "identity"

    def __post_init__(self):
        check_config(self)


class _Minimal(LinearCell):
    """What both share: weights w_x [D, G F] and b [G F], the carry h, y = h'."""

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


@CELLS.register("mingru")
class MinGRU(_Minimal):
    """z = sigmoid(x W_z + b_z)    n = g(x W_n + b_n)    h' = (1 - z) h + z n. Feng et al. 2024 (arXiv 2410.01201).

    Section 3.1 of the paper; g is `config.activation`. Order z, n.
    """

    @staticmethod
    def coefficients(params: CellParams, u: jax.Array) -> tuple[HiddenCarry, HiddenCarry]:
        z, n = jnp.split(u, 2, axis=-1)
        return HiddenCarry(jax.nn.sigmoid(-z)), HiddenCarry(jax.nn.sigmoid(z) * _candidate(n, params.config))


@CELLS.register("minlstm")
class MinLSTM(_Minimal):
    """f, i = sigmoid(x W + b)    n = g(x W_n + b_n)    h' = (f h + i n) / (f + i). Feng et al. 2024, section 3.2.

    arXiv 2410.01201; g is `config.activation`. Order f, i, n.
    """

    gates = 3

    @staticmethod
    def coefficients(params: CellParams, u: jax.Array) -> tuple[HiddenCarry, HiddenCarry]:
        f, i, n = jnp.split(u, 3, axis=-1)
        # f / (f + i) from the difference of the logarithms: no division of two small numbers.
        ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
        return HiddenCarry(jax.nn.sigmoid(ratio)), HiddenCarry(jax.nn.sigmoid(-ratio) * _candidate(n, params.config))
