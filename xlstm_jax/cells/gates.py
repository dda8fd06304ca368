"""What the sLSTM and the mLSTM share: exponential and sigmoid gates in log space, and their options."""

import dataclasses
from typing import Literal, get_args

import jax

from xlstm_jax.cells.base import check_config
from xlstm_jax.errors import UsageError

Gate = Literal["exp", "sigmoid"]


def log_gate(preactivation: jax.Array, kind: Gate, which: str = "gate") -> jax.Array:
    """Logarithm of a gate: the pre-activation itself ("exp") or log sigmoid of it ("sigmoid").

    Raises:
        UsageError: `kind` is neither; `which` names the argument in the message.
    """
    check_gate(kind, which)
    return preactivation if kind == "exp" else jax.nn.log_sigmoid(preactivation)


def check_gate(kind: Gate, which: str) -> None:
    """Raises unless `kind` is a gate; `which` names the argument in the message."""
    if kind not in get_args(Gate):
        raise UsageError(f"{which} {kind!r} is unknown; allowed: {', '.join(map(repr, get_args(Gate)))}")


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
