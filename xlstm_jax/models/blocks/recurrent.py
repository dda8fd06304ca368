"""A plain recurrent layer as a block of the stack."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.config import Rate, Section, typed
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS, checked_inputs
from xlstm_jax.models.blocks.feed_forward import post_projection
from xlstm_jax.models.config import Factor, StackConfig
from xlstm_jax.nn import NORMS, BatchNorm, Recurrent

SIZES = ("in_features", "features")  # of a cell's config; the model sets them


@dataclasses.dataclass(frozen=True)
class RecurrentBlockConfig(Section, name="model.recurrent"):
    cell: str = "lstm"  # a name in CELLS
    options: str = ""  # of the cell's config, such as "forget_bias=3,recurrent_init=identity"
    dropout: Rate = 0.0  # inside the layer; model.dropout is between layers
    dropout_kind: Literal["variational", "recurrent", "zoneout"] = (  # see nn.Recurrent
        "variational"  # of recurrent.dropout; see nn.Recurrent
    )
    norm: Literal["none", "layer", "rms", "batch"] = "none"  # of the layer's input; batch: over rows and steps
    residual: bool = False  # the block adds its input to its output
    ffn_factor: Factor = 0.0  # width of a feed-forward layer after it over model width; 0: none; needs residual

    def __post_init__(self):
        super().__post_init__()
        if self.ffn_factor and not self.residual:
            raise UsageError(
                f"model.recurrent.ffn_factor {self.ffn_factor} needs model.recurrent.residual=True: the feed-forward "
                "layer adds to the residual sum"
            )


@BLOCKS.register("recurrent", "r")
class RecurrentBlock(nnx.Module):
    """One layer of the cell `model.recurrent.cell`: y = layer(norm(x)), with `residual` x + layer(norm(x)).

    Where the config has them there is a norm, and after a residual layer the feed-forward branch of the sLSTM block;
    dropout inside the layer as in `nn.Recurrent`.
    """

    Config = RecurrentBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        block, features, dtype = config.options(RecurrentBlockConfig), config.features, jnp.dtype(config.dtype)
        self.residual = block.residual
        self.layer = Recurrent(
            block.cell,
            features,
            features,
            dropout=block.dropout,
            dropout_kind=block.dropout_kind,
            dtype=dtype,
            rngs=rngs,
            **cell_options(block.options, block.cell),
        )
        norm = {**NORMS, "batch": BatchNorm}.get(block.norm)
        self.norm = norm and norm(features, dtype=dtype, rngs=rngs)
        self.ffn_norm, self.ffn = post_projection(
            features, block.ffn_factor, len(config.layers), dtype=dtype, rngs=rngs
        )
        self.dropout = nnx.Dropout(config.dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        cell = config.options(RecurrentBlockConfig).cell
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


def cell_options(text: str, cell: str) -> dict[str, Any]:
    """Fields of a cell's config from "name=value,name=value", each value of its field's type.

    Raises:
        UsageError: an unknown cell, an option that it does not have, or a value that the option does not take; the
            message names what was typed.
    """
    where = "model.recurrent.options"
    fields = {field.name: field for field in dataclasses.fields(CELLS.get(cell).Config) if field.name not in SIZES}
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{where} {text!r}: {part!r} is not allowed; write name=value, several with commas")
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise UsageError(f"{where}: cell {cell!r} has no option {name!r}; its options: {known}")
        if name in options:
            raise UsageError(f"{where} {text!r} gives {name} twice; give it once")
        options[name] = typed(fields[name].type, value, f"{where}.{name}")
    return options
