"""A leaky integrator: h_t = a h_{t-1} + (1 - a) tanh(x_t W_x + h_{t-1} W_h + b), with one leak a per unit."""

import dataclasses

import jax
import jax.numpy as jnp

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.cells.base import HiddenCarry, RecurrentConfig, SplitCell, gate_weights
from xlstm_jax.config import FiniteFloat


@dataclasses.dataclass(frozen=True)
class LeakyConfig(RecurrentConfig):
    """`slowest` is the largest initial leak; leaks are spread evenly from 0 to it."""

    slowest: FiniteFloat = 0.9


@CELLS.register("leaky")
class Leaky(SplitCell):
    """The leak is the sigmoid of a learned number."""

    Config = LeakyConfig
    inner = ("leak",)
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key: jax.Array, config: LeakyConfig) -> CellParams:
        leak = jnp.linspace(0.05, config.slowest, config.features, dtype=jnp.float32)
        return CellParams(config, gate_weights(key, config, 1) | {"leak": jnp.log(leak / (1 - leak))})

    @staticmethod
    def update(inner: CellParams, carry: HiddenCarry, u: jax.Array, v: jax.Array) -> tuple[HiddenCarry, jax.Array]:
        leak = jax.nn.sigmoid(jnp.broadcast_to(inner["leak"].astype(carry.h.dtype), carry.h.shape))
        h = leak * carry.h + (1 - leak) * jnp.tanh(u.astype(carry.h.dtype) + v)
        return HiddenCarry(h), h
