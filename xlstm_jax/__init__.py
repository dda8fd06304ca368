"""xlstm_jax: the LSTM family in JAX, from the 1997 cell to xLSTM, in every way its recurrences can be run."""

__version__ = "0.1.0"
