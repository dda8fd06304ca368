"""The mLSTM as Pallas kernels, compiled on CUDA and interpreted on CPU."""

from xlstm_jax.ops.mlstm.pallas.api import pallas, unsupported
from xlstm_jax.ops.mlstm.pallas.tiles import Tile, Tiles, choose
from xlstm_jax.ops.mlstm.pallas.tpu import Chunk

__all__ = ["Chunk", "Tile", "Tiles", "choose", "pallas", "unsupported"]
