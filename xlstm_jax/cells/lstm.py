"""Long short-term memory with a forget gate."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, Cell, CellParams, affine, orthogonal_blocks, recurrent_dot


@dataclasses.dataclass(frozen=True)
class LSTMConfig:
    in_features: int
    features: int
    forget_bias: float = 1.0


class LSTMCarry(NamedTuple):
    c: jax.Array  # [B, F] cell state
    h: jax.Array  # [B, F] output


@CELLS.register("lstm", "lstm_np")
class LSTM(Cell):
    """LSTM with forget gate and no peepholes; one bias a gate.

        i, f, o = sigmoid(x W_x + h W_h + b)     z = tanh(x W_x + h W_h + b)     each with its own W_x, W_h, b
        c' = f c + i z                           h' = o tanh(c')                 y = h'

    Gates stand in the order i, f, z, o along the last axis of w_x [D, 4F], w_h [F, 4F], b [4F]. The forget gate's
    bias starts at 1. Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 1999 (forget gate).
    """

    Config = LSTMConfig

    @staticmethod
    def init(key: jax.Array, config: LSTMConfig) -> CellParams:
        key_x, key_h = jax.random.split(key)
        features = config.features
        weights = {
            "w_x": jax.nn.initializers.lecun_normal()(key_x, (config.in_features, 4 * features), jnp.float32),
            "w_h": orthogonal_blocks(key_h, features, gates=4),
            "b": jnp.zeros((4 * features,), jnp.float32).at[features : 2 * features].set(config.forget_bias),
        }
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: LSTMConfig, batch_shape: tuple[int, ...]) -> LSTMCarry:
        zeros = jnp.zeros((*batch_shape, config.features), jnp.float32)
        return LSTMCarry(c=zeros, h=zeros)

    @staticmethod
    def project(params: CellParams, x_BTD: jax.Array) -> jax.Array:
        return affine(x_BTD, params["w_x"], params["b"])

    @staticmethod
    def step(params: CellParams, carry: LSTMCarry, u: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        i, f, z, o = jnp.split(u.astype(carry.c.dtype) + recurrent_dot(carry.h, params["w_h"]), 4, axis=-1)
        c = jax.nn.sigmoid(f) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(z)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMCarry(c=c, h=h), h
