"""Pure functions over whole sequences. Nothing is re-exported, so `ops.mlstm` is always the module."""
