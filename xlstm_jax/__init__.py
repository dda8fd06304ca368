"""xlstm_jax: the LSTM family in JAX, from the 1997 cell to xLSTM, with all ways to run their recurrences."""

__version__ = "0.1.0"
