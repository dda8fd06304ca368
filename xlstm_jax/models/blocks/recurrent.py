"""A plain recurrent layer as a block of the stack."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.config import Rate, Section, listed, typed
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS, checked_inputs
from xlstm_jax.models.blocks.feed_forward import post_projection
from xlstm_jax.models.config import Factor, StackConfig
from xlstm_jax.nn import NORMS, BatchNorm, Recurrent

SIZES = ("in_features", "features")  # fields of a cell's config that the model sets


@dataclasses.dataclass(frozen=True)
class RecurrentBlockConfig(Section, name="model.recurrent"):
    cell: str = "lstm"  # a name in CELLS
    options: str = ""  # options of the cell's config, such as "forget_bias=3,recurrent_init=identity"
    dropout: Rate = 0.0  # inside the layer; model.dropout is between layers
    # Kind of recurrent.dropout; see nn.Recurrent.
    dropout_kind: Literal["variational", "recurrent", "zoneout"] = "variational"
    norm: Literal["none", "layer", "rms", "batch"] = "none"  # norm of the layer's input; batch: over rows and steps
    residual: bool = False  # add the block's input to its output
    ffn_factor: Factor = 0.0  # width of a feed-forward layer after it over model width; 0: none; needs residual

    def __post_init__(self):
        super().__post_init__()
        if self.ffn_factor and not self.residual:
            raise UsageError(
                f"model.recurrent.ffn_factor {self.ffn_factor} needs model.recurrent.residual=True, because the "
                "feed-forward layer is a residual branch"
            )


@BLOCKS.register("recurrent", "r")
class RecurrentBlock(nnx.Module):
    """One layer of the cell `model.recurrent.cell`: y = layer(norm(x)), or x + layer(norm(x)) with `residual`.

    The norm is optional. With `ffn_factor`, the feed-forward branch of the sLSTM block follows a residual layer.
    Dropout inside the layer is as in `nn.Recurrent`.
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
        return "" if linear else f"the cell {cell!r} is sequential, each step needs the previous one"

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
    """Parses options of a cell's config, "name=value,name=value", to values of the fields' types.

    Raises:
        UsageError: the cell or an option is unknown, or a value is not allowed; the message quotes the text.
    """
    where = "model.recurrent.options"
    fields = {field.name: field for field in dataclasses.fields(CELLS.get(cell).Config) if field.name not in SIZES}
    options = {}
    for part in listed(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"{where} {text!r}: {part!r} is not allowed; write name=value,name=value")
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise UsageError(f"{where}: cell {cell!r} has no option {name!r}; its options: {known}")
        if name in options:
            raise UsageError(f"{where} {text!r} has {name} twice; give it once")
        options[name] = typed(fields[name].type, value, f"{where}.{name}")
    return options
