"""The sLSTM over whole sequences."""

from xlstm_jax.cells.slstm import SLSTMState
from xlstm_jax.ops.slstm.api import IMPLEMENTATIONS, slstm

__all__ = ["IMPLEMENTATIONS", "SLSTMState", "slstm"]
