"""The simple recurrent network of Elman 1990."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, Cell, CellParams, affine, orthogonal_blocks, recurrent_dot


@dataclasses.dataclass(frozen=True)
class RNNConfig:
    in_features: int
    features: int
    activation: Literal["tanh", "relu"] = "tanh"


class RNNCarry(NamedTuple):
    h: jax.Array  # [B, F]


@CELLS.register("rnn")
class RNN(Cell):
    """h' = phi(x W_x + h W_h + b), phi tanh or relu; y = h'. Elman 1990, "Finding structure in time"."""

    Config = RNNConfig

    @staticmethod
    def init(key: jax.Array, config: RNNConfig) -> CellParams:
        key_x, key_h = jax.random.split(key)
        weights = {
            "w_x": jax.nn.initializers.lecun_normal()(key_x, (config.in_features, config.features), jnp.float32),
            "w_h": orthogonal_blocks(key_h, config.features, gates=1),
            "b": jnp.zeros((config.features,), jnp.float32),
        }
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: RNNConfig, batch_shape: tuple[int, ...]) -> RNNCarry:
        return RNNCarry(jnp.zeros((*batch_shape, config.features), jnp.float32))

    @staticmethod
    def project(params: CellParams, x_BTD: jax.Array) -> jax.Array:
        return affine(x_BTD, params["w_x"], params["b"])

    @staticmethod
    def step(params: CellParams, carry: RNNCarry, u: jax.Array) -> tuple[RNNCarry, jax.Array]:
        phi = jnp.tanh if params.config.activation == "tanh" else jax.nn.relu
        h = phi(u.astype(carry.h.dtype) + recurrent_dot(carry.h, params["w_h"]))
        return RNNCarry(h), h
