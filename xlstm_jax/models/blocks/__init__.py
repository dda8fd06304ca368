"""Blocks of the stack. Each file has one block and its options, the config section `model.NAME`."""

from xlstm_jax.models.blocks.base import BLOCKS, Block

__all__ = ["BLOCKS", "Block"]
