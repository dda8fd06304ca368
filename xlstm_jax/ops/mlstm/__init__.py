"""The mLSTM over whole sequences: one op, many ways to run it."""

from xlstm_jax.cells.mlstm import MLSTMState
from xlstm_jax.ops.mlstm.api import IMPLEMENTATIONS, mlstm

__all__ = ["IMPLEMENTATIONS", "MLSTMState", "mlstm"]
