"""Exponential and sigmoid gates in log space, shared by the sLSTM and the mLSTM."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.checks import check_choice, check_config
from xlstm_jax.errors import UsageError

Gate = Literal["exp", "sigmoid"]

# Lower bound of a stabiliser: a forget gate of 0 and no input would make it minus infinity.
LOWEST = -1e30
# Sums of log gates keep their last digit up to this magnitude: e^-1024 is 0 in float64 too.
PRECISE = 1024.0
# For |d| below 1/128, e^d keeps so much of the state that its rounding errors add up over the steps.
LONG = 2.0**-7


def log_gate(preactivation: jax.Array, kind: Gate, which: str = "gate") -> jax.Array:
    """Logarithm of a gate: the pre-activation itself ("exp") or its log sigmoid ("sigmoid").

    Raises:
        UsageError: unknown `kind`; `which` is the argument's name in the message.
    """
    check_choice(which, kind, Gate)
    return preactivation if kind == "exp" else jax.nn.log_sigmoid(preactivation)


def next_stabiliser(log_f: jax.Array, m: jax.Array, log_i: jax.Array) -> jax.Array:
    """m' = max(log f + m, log i); finite even if both are minus infinity."""
    after = jnp.maximum(log_f + m, log_i)
    # Not a third maximum: it makes the sLSTM's scan a third slower on XLA's CPU backend.
    return jnp.where(after == -jnp.inf, jnp.asarray(LOWEST, m.dtype), after)


def log_decay(log_f: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """log f + m - m', the log of the factor that decays a state and takes it from scale m = `before` to m' = `after`.

    For small |m'| the sum is log f + (m - m'): m - m' is exact if the two are close, so small gates keep their digits,
    while log f + m would be rounded to the precision of m. That factor also undoes the rounding of m', which grows with
    |m'|: a state that stays far from scale 0 for many steps would overflow. So for large |m'| the sum is
    (log f + m) - m', which rounds log f + m as m' was rounded, and the factor is at most 1.
    """
    return jnp.where(jnp.abs(after) < PRECISE, log_f + (before - after), (log_f + before) - after)


def exp_and_rest(exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """e^d and its rounding error, which is computed for d near 0 and is 0 elsewhere.

    A gate that is nearly 1 at every step is rounded in the same direction each time, by up to 3e-8 in float32. After
    100,000 steps that is 3e-3. f c + rest c leaves only the rounding of the sum, which has no preferred direction.
    """
    f, d = jnp.exp(exponent), jax.lax.stop_gradient(exponent)
    if exponent.dtype.itemsize > 4:
        return f, jnp.zeros_like(f)
    # Clip before squaring: XLA rewrites (a b)^2 as a^2 b^2, which is NaN if a is 0 and b^2 overflows.
    near = jnp.abs(d) < LONG
    d, rounded = (jnp.where(near, a, jnp.zeros_like(a)) for a in (d, jax.lax.stop_gradient(f) - 1))
    # e^d - 1 by its series: XLA's expm1 takes as long as the rest of a step. The next term is below 2e-10.
    return f, d + d * d * (0.5 + d * (1 / 6)) - rounded


def decay_rate(log_rate: jax.Array) -> jax.Array:
    """rate = e^log_rate, capped to keep gradients finite. The decay of a step is e^-rate; e^-e^80 is already 0."""
    return jnp.exp(jnp.minimum(log_rate, 80.0))


def shut(log_decay: jax.Array) -> jax.Array:
    """log_decay, bounded below by a finite number whose exponential is 0; the gradient below the bound is 0.

    Sums of bounded values are finite, and a gradient of 0 stays 0 when it is multiplied by them.
    """
    bound = 2 * math.log(jnp.finfo(log_decay.dtype).tiny)
    return jnp.where(log_decay < bound, bound, log_decay)


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """Sizes and gates of a cell whose features are split into heads."""

    in_features: int
    features: int
    num_heads: int = 4
    input_gate: Gate = "exp"
    forget_gate: Gate = "sigmoid"

    def __post_init__(self):
        check_config(self)
        if self.features % self.num_heads:
            raise UsageError(f"features {self.features} is not a multiple of num_heads {self.num_heads}")
