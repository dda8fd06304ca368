"""The mLSTM by Pallas kernels: compiled on CUDA, interpreted on CPU."""

from xlstm_jax.ops.mlstm.pallas.api import fits, pallas
from xlstm_jax.ops.mlstm.pallas.tiles import Tiles

__all__ = ["Tiles", "fits", "pallas"]
