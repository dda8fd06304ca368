"""One time step of each cell, as pure functions with no time axis; a file here registers a cell by itself."""

from xlstm_jax.cells.base import CELLS, Cell, CellParams

__all__ = ["CELLS", "Cell", "CellParams"]
