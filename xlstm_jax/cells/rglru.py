"""The real-gated linear recurrent unit of Griffin: a diagonal recurrence with a decay gated by the input."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, HiddenCarry, LinearCell, add_bias
from xlstm_jax.cells.gates import LOWEST, exp_and_rest
from xlstm_jax.checks import check_config
from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import state_dtype

# The paper's c: the exponent of the decay when its gate is fully open.
SHARPNESS = 8.0


@dataclasses.dataclass(frozen=True)
class RGLRUConfig:
    """`in_features` equals `features`; the gates' maps are block-diagonal over `num_heads`."""

    in_features: int
    features: int
    num_heads: int = 1

    def __post_init__(self):
        check_config(self)
        if self.in_features != self.features or self.features % self.num_heads:
            raise UsageError(
                f"rglru got in_features {self.in_features}, features {self.features}, num_heads {self.num_heads}; "
                "features must equal in_features and be a multiple of num_heads"
            )


@CELLS.register("rglru")
class RGLRU(LinearCell):
    """RG-LRU: De et al. 2024 (arXiv 2402.19427), section 2.4, equations 1 to 4.

        r, i = sigmoid(x W + b)        each with its own W, b
        a = sigmoid(lambda)^(8 r)      h' = a h + sqrt(1 - a^2) (i x)        y = h'

    w_r, w_i [H, F/H, F/H], b_r, b_i [F], lambda [F], initialised so that sigmoid(lambda)^8 is uniform in 0.9 to
    0.999.
    """

    Config = RGLRUConfig
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key: jax.Array, config: RGLRUConfig) -> CellParams:
        width = config.features // config.num_heads
        keys, weights = jax.random.split(key, 3), {}
        for name, gate_key in zip("ri", keys[:2], strict=True):
            shape = (config.num_heads, width, width)
            weights[f"w_{name}"] = jax.nn.initializers.lecun_normal(batch_axis=0)(gate_key, shape, jnp.float32)
            weights[f"b_{name}"] = jnp.zeros((config.features,), jnp.float32)
        log_a = jnp.log(jax.random.uniform(keys[2], (config.features,), jnp.float32, 0.9, 0.999)) / SHARPNESS
        weights["lambda"] = log_a - jnp.log(-jnp.expm1(log_a))  # the logit of a
        return CellParams(config, weights)

    @classmethod
    def project(cls, params: CellParams, x_BTD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def mapped(name):
            w_HDE = params[f"w_{name}"]
            x = x_BTD.reshape(*x_BTD.shape[:-1], *w_HDE.shape[:2])
            return add_bias(jnp.einsum("...hd,hde->...he", x, w_HDE).reshape(x_BTD.shape), params[f"b_{name}"])

        return x_BTD, mapped("r"), mapped("i")

    @staticmethod
    def coefficients(params: CellParams, u: Any) -> tuple[HiddenCarry, HiddenCarry]:
        dtype = state_dtype(u[0])
        x, r, i = (part.astype(dtype) for part in u)
        log_a = _log_decay(params, r)
        # 1 - a^2 without cancellation; the guard keeps the root's derivative finite if a rounds to 1.
        room = jnp.maximum(-jnp.expm1(2 * log_a), jnp.finfo(dtype).tiny)
        return HiddenCarry(jnp.exp(log_a)), HiddenCarry(jnp.sqrt(room) * jax.nn.sigmoid(i) * x)

    @staticmethod
    def lost(params: CellParams, u: Any) -> HiddenCarry:
        r = u[1].astype(state_dtype(u[0]))
        return HiddenCarry(jax.lax.stop_gradient(exp_and_rest(_log_decay(params, r))[1]))

    @staticmethod
    def output(carry: HiddenCarry) -> jax.Array:
        return carry.h


def _log_decay(params: CellParams, r: jax.Array) -> jax.Array:
    # Finite, because a shut gate r = 0 times minus infinity is NaN. For r > 0 it acts like minus infinity: a is 0.
    rate = jax.nn.log_sigmoid(jnp.maximum(params["lambda"].astype(r.dtype), LOWEST))
    return SHARPNESS * jax.nn.sigmoid(r) * jnp.broadcast_to(rate, r.shape)
