"""The gated recurrent unit."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, Cell, CellParams, affine, orthogonal_blocks, recurrent_dot


@dataclasses.dataclass(frozen=True)
class GRUConfig:
    in_features: int
    features: int
    reset: Literal["after", "before"] = "after"  # the reset gate acts after the recurrent product, or before it


class GRUCarry(NamedTuple):
    h: jax.Array  # [B, F]


@CELLS.register("gru")
class GRU(Cell):
    """Gated recurrent unit, Cho et al. 2014 (arXiv 1406.1078).

        r, z = sigmoid(x W_x + h W_h + b)                  each with its own W_x, W_h, b
        n = tanh(x W_xn + b_n + r * (h W_hn))              reset "after" the product, as PyTorch and cuDNN have it
        n = tanh(x W_xn + b_n + (r * h) W_hn)              reset "before" the product, as the paper has it
        h' = (1 - z) n + z h                               y = h'

    Gates stand in the order r, z, n along the last axis of w_x [D, 3F], w_h [F, 3F], b [3F].
    """

    Config = GRUConfig

    @staticmethod
    def init(key: jax.Array, config: GRUConfig) -> CellParams:
        key_x, key_h = jax.random.split(key)
        weights = {
            "w_x": jax.nn.initializers.lecun_normal()(key_x, (config.in_features, 3 * config.features), jnp.float32),
            "w_h": orthogonal_blocks(key_h, config.features, gates=3),
            "b": jnp.zeros((3 * config.features,), jnp.float32),
        }
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: GRUConfig, batch_shape: tuple[int, ...]) -> GRUCarry:
        return GRUCarry(jnp.zeros((*batch_shape, config.features), jnp.float32))

    @staticmethod
    def project(params: CellParams, x_BTD: jax.Array) -> jax.Array:
        return affine(x_BTD, params["w_x"], params["b"])

    @staticmethod
    def step(params: CellParams, carry: GRUCarry, u: jax.Array) -> tuple[GRUCarry, jax.Array]:
        h, w_h, features = carry.h, params["w_h"], params.config.features
        u_rz, u_n = jnp.split(u.astype(h.dtype), (2 * features,), axis=-1)
        if params.config.reset == "after":
            v_rz, v_n = jnp.split(recurrent_dot(h, w_h), (2 * features,), axis=-1)
            r, z = jnp.split(jax.nn.sigmoid(u_rz + v_rz), 2, axis=-1)
            n = jnp.tanh(u_n + r * v_n)
        else:
            r, z = jnp.split(jax.nn.sigmoid(u_rz + recurrent_dot(h, w_h[:, : 2 * features])), 2, axis=-1)
            n = jnp.tanh(u_n + recurrent_dot(r * h, w_h[:, 2 * features :]))
        h = (1 - z) * n + z * h
        return GRUCarry(h), h
