"""GRU-D: a gated recurrent unit for values that are measured now and then, and fade between measurements."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, Cell, CellParams, RecurrentConfig, add_bias, affine, gate_weights, recurrent_dot
from xlstm_jax.errors import UsageError

PARTS = 3  # of the input: values, mask, gaps


@dataclasses.dataclass(frozen=True)
class GRUDConfig(RecurrentConfig):
    """`in_features` is three times the number of variables, K: each has a value, a mask and a gap."""

    def __post_init__(self):
        super().__post_init__()
        if self.in_features % PARTS:
            raise UsageError(
                f"grud got in_features {self.in_features}; it must be a multiple of {PARTS}, for the value, the mask "
                "and the gap of each variable"
            )

    @property
    def variables(self) -> int:
        return self.in_features // PARTS


class GRUDCarry(NamedTuple):
    """Carry of the GRU-D."""

    h: jax.Array  # [B, F]
    x: jax.Array  # [B, K], the last measured value of each variable
    output_field = "h"


class Projected(NamedTuple):
    """What `GRUD.project` computes of the inputs of all steps."""

    gates: jax.Array  # [..., 3F], the part of the pre-activations that comes from the mask
    measured: jax.Array  # [..., K], m x
    missing: jax.Array  # [..., K], 1 - m
    fade_x: jax.Array  # [..., K], gamma_x
    fade_h: jax.Array  # [..., F], gamma_h


@CELLS.register("grud")
class GRUD(Cell):
    """GRU-D, Che et al. 2018 (arXiv 1606.01865), for standardised values, whose mean is zero.

    A step's input is x, m, d side by side: the values of K variables, a mask (1 where a value was measured, else 0),
    and the time since each variable was last measured before this step. What x holds where m is 0 has no effect.

        gamma_x = exp(-max(0, w_gx * d + b_gx))        gamma_h = exp(-max(0, d W_gh + b_gh))
        l' = m * x + (1 - m) * l                       the last value measured
        u = m * x + (1 - m) * gamma_x * l              a missing value fades from the last one to the mean
        k = gamma_h * h
        z, r = sigmoid(u W_x + k W_h + m V + b)        each with its own W_x, W_h, V, b
        n = tanh(u W_xn + (r * k) W_n + m V_n + b_n)
        h' = (1 - z) * k + z * n                       y = h'

    The carry holds l, so that resets clear it: after one, a variable not measured yet has the mean. The order is z, r,
    n along the last axis of w_x, v [K, 3F] and b [3F]; w_h [F, 2F], w_n [F, F]; w_gx, b_gx [K], w_gh [K, F], b_gh [F].
    """

    Config = GRUDConfig
    parts = PARTS

    @staticmethod
    def init(key: jax.Array, config: GRUDConfig) -> CellParams:
        variables, features = config.variables, config.features
        key, key_x, key_h = jax.random.split(key, 3)
        weights = gate_weights(key, config, gates=3)
        weights["w_x"], weights["v"], _ = jnp.split(weights["w_x"], PARTS)  # the gaps only set how much fades
        weights["w_h"], weights["w_n"] = jnp.split(weights["w_h"], (2 * features,), axis=1)
        # Rates above zero: below it they would have no gradient.
        weights["w_gx"] = jax.random.uniform(key_x, (variables,), jnp.float32)
        weights["w_gh"] = jax.random.uniform(key_h, (variables, features), jnp.float32) / variables
        if config.bias:
            weights |= {"b_gx": jnp.zeros((variables,), jnp.float32), "b_gh": jnp.zeros((features,), jnp.float32)}
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: GRUDConfig, batch_shape: tuple[int, ...]) -> GRUDCarry:
        sizes = GRUDCarry(h=config.features, x=config.variables)
        return GRUDCarry(*(jnp.zeros((*batch_shape, size), jnp.float32) for size in sizes))

    @classmethod
    def project(cls, params: CellParams, x_BTD: jax.Array) -> Projected:
        x, m, d = jnp.split(x_BTD, PARTS, axis=-1)
        rate_x = d * jnp.broadcast_to(params["w_gx"], d.shape)
        if "b_gx" in params:
            rate_x = add_bias(rate_x, params["b_gx"])
        return Projected(
            gates=affine(m, params["v"], params.get("b")),
            measured=m * x,
            missing=1 - m,
            fade_x=jnp.exp(-jax.nn.relu(rate_x)),
            fade_h=jnp.exp(-jax.nn.relu(affine(d, params["w_gh"], params.get("b_gh")))),
        )

    @staticmethod
    def step(params: CellParams, carry: GRUDCarry, u: Projected) -> tuple[GRUDCarry, jax.Array]:
        u = Projected(*(part.astype(carry.h.dtype) for part in u))
        old = u.missing * carry.x
        k = u.fade_h * carry.h
        gates = u.gates + recurrent_dot(u.measured + u.fade_x * old, params["w_x"])
        zr, n = jnp.split(gates, (2 * params.config.features,), axis=-1)
        z, r = jnp.split(jax.nn.sigmoid(zr + recurrent_dot(k, params["w_h"])), 2, axis=-1)
        n = jnp.tanh(n + recurrent_dot(r * k, params["w_n"]))
        h = (1 - z) * k + z * n
        return GRUDCarry(h, u.measured + old), h
