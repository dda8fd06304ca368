"""Runs any cell over time."""

from xlstm_jax.ops.recurrence.api import newton_recurrence, recurrence
from xlstm_jax.ops.recurrence.choice import IMPLEMENTATIONS
from xlstm_jax.ops.recurrence.dropout import Noise
from xlstm_jax.ops.recurrence.newton import NewtonOptions, NewtonReport
from xlstm_jax.ops.recurrence.scan import masked_scan, select

__all__ = [
    "IMPLEMENTATIONS",
    "NewtonOptions",
    "NewtonReport",
    "Noise",
    "masked_scan",
    "newton_recurrence",
    "recurrence",
    "select",
]
