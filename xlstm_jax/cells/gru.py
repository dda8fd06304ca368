"""Gated recurrent units: the GRU, with its reset gate after or before the recurrent product, and the minimal unit."""

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
    recurrent_dot,
)
from xlstm_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class GRUConfig(RecurrentConfig):
    """`reset`: whether the reset gate acts after the recurrent product (PyTorch, cuDNN) or before it (the paper).

    `recurrent_bias` adds b_r, PyTorch's second bias, which the reset gate scales. It needs reset "after".
    """

    reset: Literal["after", "before"] = "after"
    recurrent_bias: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.recurrent_bias and self.reset == "before":
            raise UsageError("recurrent_bias=True needs reset='after': before the product it would only duplicate b_n")


def _gated_weights(key: jax.Array, config: RecurrentConfig, gates: int) -> dict[str, jax.Array]:
    """`gate_weights` with the last gate's recurrent matrix split off as w_n, because its input passes a gate."""
    weights = gate_weights(key, config, gates)
    weights["w_h"], weights["w_n"] = jnp.split(weights["w_h"], ((gates - 1) * config.features,), axis=1)
    return weights


@jax.custom_jvp
def _gated_after(r: jax.Array, z: jax.Array, n: jax.Array, v: jax.Array, h: jax.Array) -> jax.Array:
    """h' of the GRU with reset "after", from pre-activations and v = h W_hn + b_r."""
    z = jax.nn.sigmoid(z)
    return (1 - z) * jnp.tanh(n + jax.nn.sigmoid(r) * v) + z * h


@_gated_after.defjvp
def _gated_after_jvp(primals, tangents):
    # One factor for each input, so the backward pass saves 5 arrays per step.
    r, z = (jax.nn.sigmoid(primals[n]) for n in (0, 1))
    v, h = primals[3:]
    dr, dz, dn, dv, dh = tangents
    n = jnp.tanh(primals[2] + r * v)
    to_n = (1 - z) * (1 - n * n)
    to_v = to_n * r
    after = (1 - z) * n + z * h
    return after, to_v * v * (1 - r) * dr + (z * (1 - z) * (h - n)) * dz + to_n * dn + to_v * dv + z * dh


@CELLS.register("gru")
class GRU(SplitCell):
    """Gated recurrent unit, Cho et al. 2014 (arXiv 1406.1078).

        r, z = sigmoid(x W_x + h W_h + b)                  each with its own W_x, W_h, b
        n = tanh(x W_xn + b_n + r * (h W_hn + b_r))        reset "after" the product; b_r is optional
        n = tanh(x W_xn + b_n + (r * h) W_n)               reset "before" the product
        h' = (1 - z) n + z h                               y = h'

    The order is r, z, n along the last axis of w_x [D, 3F], w_h [F, 3F], b [3F]; reset "before" has w_h [F, 2F] and
    w_n [F, F].
    """

    Config = GRUConfig
    inner = ("w_n",)
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key: jax.Array, config: GRUConfig) -> CellParams:
        if config.reset == "before":
            return CellParams(config, _gated_weights(key, config, gates=3))
        weights = gate_weights(key, config, gates=3)
        if config.recurrent_bias:
            weights["b_r"] = jnp.zeros((config.features,), jnp.float32)
        return CellParams(config, weights)

    @staticmethod
    def recur(params: CellParams, h: jax.Array) -> jax.Array:
        v = recurrent_dot(h, params["w_h"])
        if "b_r" not in params:
            return v
        b = jnp.pad(params["b_r"].astype(v.dtype), (2 * params.config.features, 0))
        return v + jnp.broadcast_to(b, v.shape)

    @classmethod
    def self_weights(cls, params: CellParams) -> jax.Array | None:
        return block_diagonals(params["w_h"]) if params.config.reset == "after" else None

    @staticmethod
    def update(inner: CellParams, carry: HiddenCarry, u: jax.Array, v: jax.Array) -> tuple[HiddenCarry, jax.Array]:
        h, features = carry.h, inner.config.features
        u_rz, u_n = jnp.split(u.astype(h.dtype), (2 * features,), axis=-1)
        v_rz, v_n = jnp.split(v, (2 * features,), axis=-1)
        r, z = jnp.split(u_rz + v_rz, 2, axis=-1)
        if inner.config.reset == "after":
            h = _gated_after(r, z, u_n, v_n, h)
        else:
            r, z = jax.nn.sigmoid(r), jax.nn.sigmoid(z)
            h = (1 - z) * jnp.tanh(u_n + recurrent_dot(r * h, inner["w_n"])) + z * h
        return HiddenCarry(h), h


@CELLS.register("mgu")
class MGU(SplitCell):
    """Minimal gated unit: one gate both forgets and resets. Zhou et al. 2016 (arXiv 1603.09420).

        f = sigmoid(x W_x + h W_h + b)        n = tanh(x W_xn + b_n + (f * h) W_n)        h' = (1 - f) h + f n

    y = h'. The order is f, n in w_x [D, 2F] and b [2F]; w_h, w_n [F, F].
    """

    Config = RecurrentConfig
    inner = ("w_n",)
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key: jax.Array, config: RecurrentConfig) -> CellParams:
        return CellParams(config, _gated_weights(key, config, gates=2))

    @staticmethod
    def update(inner: CellParams, carry: HiddenCarry, u: jax.Array, v: jax.Array) -> tuple[HiddenCarry, jax.Array]:
        h = carry.h
        u_f, u_n = jnp.split(u.astype(h.dtype), 2, axis=-1)
        f = jax.nn.sigmoid(u_f + v)
        n = jnp.tanh(u_n + recurrent_dot(f * h, inner["w_n"]))
        h = (1 - f) * h + f * n
        return HiddenCarry(h), h
