"""The mLSTM over whole sequences, with several implementations, and a single step for decoding."""

from xlstm_jax.cells.mlstm import MLSTMState, mlstm_step
from xlstm_jax.ops.mlstm.api import IMPLEMENTATIONS, mlstm

__all__ = ["IMPLEMENTATIONS", "MLSTMState", "mlstm", "mlstm_step"]
