"""A plain recurrent layer as a block of the stack."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.models.blocks import BLOCKS, checked_inputs
from xlstm_jax.models.config import ModelConfig, RecurrentBlockConfig
from xlstm_jax.models.feed_forward import post_projection
from xlstm_jax.nn import NORMS, BatchNorm, Recurrent


@BLOCKS.register("r")
class RecurrentBlock(nnx.Module):
    """One layer of the cell `config.recurrent.cell`: y = layer(norm(x)), with `residual` x + layer(norm(x)).

    Where the config has them there is a norm, and after a residual layer the feed-forward branch of the sLSTM block;
    dropout inside the layer as in `nn.Recurrent`.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.recurrent, config.features, jnp.dtype(config.dtype)
        self.residual = block.residual
        self.layer = Recurrent(
            block.cell,
            features,
            features,
            dropout=block.dropout,
            dropout_kind=block.dropout_kind,
            dtype=dtype,
            rngs=rngs,
            **_cell_options(block),
        )
        norm = {**NORMS, "batch": BatchNorm}.get(block.norm)
        self.norm = norm and norm(features, dtype=dtype, rngs=rngs)
        self.ffn_norm, self.ffn = post_projection(
            features, block.ffn_factor, len(config.letters), dtype=dtype, rngs=rngs
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
        x_BTD, reset, lengths = checked_inputs(self, self.layer.configs[0].in_features, x_BTD, carry, reset, lengths)
        inside, outside = (None, None) if key is None else (jax.random.fold_in(key, n) for n in (1, 2))
        training = {"training": key is not None, "lengths": lengths} if isinstance(self.norm, BatchNorm) else {}
        u_BTD = x_BTD if self.norm is None else self.norm(x_BTD, **training)
        y_BTD, carry = self.layer(u_BTD, carry, reset=reset, lengths=lengths, key=inside)
        y_BTD = self.dropout(y_BTD, deterministic=key is None, rngs=key)
        x_BTD = x_BTD + y_BTD if self.residual else y_BTD
        if self.ffn is None:
            return x_BTD, carry
        y_BTD = self.ffn(self.ffn_norm(x_BTD))
        return x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=outside), carry


def _cell_options(block: RecurrentBlockConfig) -> dict[str, Any]:
    """Fields of the cell's config that were set: at their defaults they are the cell's own, which may not have them."""
    given = {name: getattr(block, name) for name in ("forget_bias", "recurrent_init")}
    return {name: value for name, value in given.items() if value != getattr(RecurrentBlockConfig(), name)}
