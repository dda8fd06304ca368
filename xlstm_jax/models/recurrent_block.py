"""A plain recurrent layer as a block of the stack."""

import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.nn import Recurrent


@BLOCKS.register("r")
class RecurrentBlock(nnx.Module):
    """One layer of the cell `config.recurrent.cell`, with no norm and no residual connection."""

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        del index
        self.layer = Recurrent(
            config.recurrent.cell, config.features, config.features, dtype=jnp.dtype(config.dtype), rngs=rngs
        )
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: ModelConfig) -> str:
        cell = config.recurrent.cell
        linear = issubclass(CELLS.get(cell), LinearCell)
        return "" if linear else f"the cell {cell!r} is sequential, each of its steps needs the one before"

    def init_carry(self, batch: int):
        return self.layer.init_carry(batch)

    def __call__(self, x_BTD, carry, *, reset=None, lengths=None, key=None):
        y_BTD, carry = self.layer(x_BTD, carry, reset=reset, lengths=lengths)
        return self.dropout(y_BTD, deterministic=key is None, rngs=key), carry
