"""The mLSTM's kernels for TPUs: one for the forward pass and one for the backward pass."""

from xlstm_jax.ops.mlstm.pallas.tpu.core import Chunk, core

__all__ = ["Chunk", "core"]
