"""Whole sequences, as pure functions. Nothing is re-exported, so that `ops.mlstm` is always the module."""
