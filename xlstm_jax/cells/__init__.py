"""Recurrent cells: pure functions for one time step. Each file in this package registers its own cells."""

from xlstm_jax.cells.base import CELLS, Cell, CellParams

__all__ = ["CELLS", "Cell", "CellParams"]
