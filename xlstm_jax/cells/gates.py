"""What the sLSTM and the mLSTM share: exponential and sigmoid gates in log space, and their options."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError

Gate = Literal["exp", "sigmoid"]


def log_gate(preactivation: jax.Array, kind: Gate, which: str = "gate") -> jax.Array:
    """Logarithm of a gate: the pre-activation itself ("exp") or log sigmoid of it ("sigmoid").

    Raises:
        UsageError: `kind` is neither; `which` names the argument in the message.
    """
    if kind == "exp":
        return preactivation
    if kind == "sigmoid":
        return jax.nn.log_sigmoid(preactivation)
    raise UsageError(f"{which} {kind!r} is unknown; allowed: 'exp', 'sigmoid'")


def shut(log_decay: jax.Array) -> jax.Array:
    """log_decay with a finite number, of which the exponential is 0 as well, where it is below that number.

    Sums of it stay exact and finite, and the gradient there is 0, as that of e^-inf.
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
        if self.features % self.num_heads:
            raise UsageError(f"features {self.features} is not a multiple of num_heads {self.num_heads}")
