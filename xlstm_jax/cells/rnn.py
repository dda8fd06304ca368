"""The simple recurrent network (Elman 1990)."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import (
    CELLS,
    CellParams,
    HiddenCarry,
    RecurrentConfig,
    SplitCell,
    block_diagonals,
    gate_weights,
)


@dataclasses.dataclass(frozen=True)
class RNNConfig(RecurrentConfig):
    activation: Literal["tanh", "relu"] = "tanh"


@CELLS.register("rnn")
class RNN(SplitCell):
    """h' = phi(x W_x + h W_h + b), phi tanh or relu; y = h'. Elman 1990, "Finding structure in time"."""

    additive = True
    Config = RNNConfig
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key: jax.Array, config: RNNConfig) -> CellParams:
        return CellParams(config, gate_weights(key, config, gates=1))

    @classmethod
    def self_weights(cls, params: CellParams) -> jax.Array:
        return block_diagonals(params["w_h"])

    @staticmethod
    def update(inner: CellParams, carry: HiddenCarry, u: jax.Array, v: jax.Array) -> tuple[HiddenCarry, jax.Array]:
        phi = jnp.tanh if inner.config.activation == "tanh" else jax.nn.relu
        h = phi(u.astype(carry.h.dtype) + v)
        return HiddenCarry(h), h
