"""Blocks of the stack, one file each: the block and the options that a config can set, `model.NAME`."""

from xlstm_jax.models.blocks.base import BLOCKS, Block

__all__ = ["BLOCKS", "Block"]
