"""What the sLSTM and the mLSTM share: exponential and sigmoid gates in log space, and their options."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.checks import check_choice, check_config
from xlstm_jax.errors import UsageError

Gate = Literal["exp", "sigmoid"]

# A stabiliser is at least this, where a forget gate of 0 and no input would make it minus infinity.
LOWEST = -1e30
# Sums of log gates are told apart to the last digit up to here: e^-1024 is 0 in float64 too.
PRECISE = 1024.0
# From -1/128 on, e^d keeps so much of a state that its rounding adds up over the steps.
LONG = 2.0**-7


def log_gate(preactivation: jax.Array, kind: Gate, which: str = "gate") -> jax.Array:
    """Logarithm of a gate: the pre-activation itself ("exp") or log sigmoid of it ("sigmoid").

    Raises:
        UsageError: `kind` is neither; `which` names the argument in the message.
    """
    check_choice(which, kind, Gate)
    return preactivation if kind == "exp" else jax.nn.log_sigmoid(preactivation)


def next_stabiliser(log_f: jax.Array, m: jax.Array, log_i: jax.Array) -> jax.Array:
    """m' = max(log f + m, log i), finite where both are minus infinity."""
    after = jnp.maximum(log_f + m, log_i)
    # Not a third maximum, with which XLA's CPU backend takes a third longer for the sLSTM's scan.
    return jnp.where(after == -jnp.inf, jnp.asarray(LOWEST, m.dtype), after)


def log_decay(log_f: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """log f + m - m', the log of what a state in the scale of m = `before` is multiplied by for that of m' = `after`.

    Small gates keep their digits: m - m' is exact where they are close, while log f + m is rounded as m is. The factor
    makes up for the rounding of m', which grows with |m'|: a state many steps far from scale 0 would overflow. There
    log f + m is rounded as m' was, and the factor is at most 1.
    """
    return jnp.where(jnp.abs(after) < PRECISE, log_f + (before - after), (log_f + before) - after)


def exp_and_rest(exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """e^d, and what its rounding lost where d is near 0; 0 elsewhere.

    A gate that is nearly 1 at every step is rounded in the same direction each time, by up to 3e-8 in float32: 3e-3
    after 100,000 steps. f c + rest c leaves only the rounding of the sum, which falls either way.
    """
    f, d = jnp.exp(exponent), jax.lax.stop_gradient(exponent)
    if exponent.dtype.itemsize > 4:
        return f, jnp.zeros_like(f)
    # Small before it is squared: XLA makes (a b)^2 a^2 b^2, which is NaN where a is 0 and b^2 overflows.
    near = jnp.abs(d) < LONG
    d, rounded = (jnp.where(near, a, jnp.zeros_like(a)) for a in (d, jax.lax.stop_gradient(f) - 1))
    # e^d - 1 by its series, since XLA's own takes as long as the rest of a step; the next term is below 2e-10.
    return f, d + d * d * (0.5 + d * (1 / 6)) - rounded


def decay_rate(log_rate: jax.Array) -> jax.Array:
    """e^log_rate, of which e^-rate is a step's decay; finite, so that its gradient is: e^-e^80 is 0 already."""
    return jnp.exp(jnp.minimum(log_rate, 80.0))


def shut(log_decay: jax.Array) -> jax.Array:
    """log_decay, where its exponential is 0 for certain a finite number of which that is so too, with gradient 0.

    Sums of it are finite, and a gradient of 0 stays 0 whatever it is multiplied by.
    """
    bound = 2 * math.log(jnp.finfo(log_decay.dtype).tiny)
    return jnp.where(log_decay < bound, bound, log_decay)


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """Sizes and gates of a cell whose features are split over heads."""

    in_features: int
    features: int
    num_heads: int = 4
    input_gate: Gate = "exp"
    forget_gate: Gate = "sigmoid"

    def __post_init__(self):
        check_config(self)
        if self.features % self.num_heads:
            raise UsageError(f"features {self.features} is not a multiple of num_heads {self.num_heads}")
