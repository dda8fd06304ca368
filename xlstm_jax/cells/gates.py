"""Exponential and sigmoid gates in log space, shared by the sLSTM and the mLSTM."""

from typing import Literal

import jax

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
