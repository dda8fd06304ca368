"""The weights of a stack of recurrent layers, and the carry before the first step."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import output_field
from xlstm_jax.checks import check_sizes
from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import state_dtype


class Directions(NamedTuple):
    """The carry of a bidirectional layer."""

    forward: Any
    backward: Any


def parameters(cell: type[Cell], weights: Mapping[str, jax.Array]) -> nnx.Dict:
    """A cell's weights as parameters; those in `undecayed` are marked, so that weight decay leaves them out."""
    marks = {name: {"decay": False} if name in cell.undecayed else {} for name in weights}
    return nnx.Dict({name: nnx.Param(weight, **marks[name]) for name, weight in weights.items()})


class RecurrentWeights(nnx.Module):
    """Weights of one cell for each layer of a stack, in one or both directions, and initial carries if learned.

    Args:
        cell, name: the cell, and its registered name for messages.
        configs: the cell's config for each layer.
        bidirectional: add a second direction with separate weights.
        learned_carry: make the carry before the first step a parameter.
        dtype: the weights are cast to it; the carry is at least float32.
        rngs: the `params` stream initialises the weights.

    Raises:
        UsageError: `learned_carry` for a cell whose carry is not in plain scale.
    """

    def __init__(
        self,
        cell: type[Cell],
        name: str,
        configs: tuple[Any, ...],
        *,
        bidirectional: bool,
        learned_carry: bool,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.cell, self.cell_name, self.configs = cell, name, configs
        self.bidirectional, self.dtype = bidirectional, dtype
        self.layers = self._weights(rngs)
        self.backward_layers = self._weights(rngs) if bidirectional else None
        self.starts = self._starts() if learned_carry else None
        self.backward_starts = self._starts() if learned_carry and bidirectional else None

    def _weights(self, rngs: nnx.Rngs) -> nnx.List:
        drawn = (self.cell.init(rngs.params(), config) for config in self.configs)
        return nnx.List([parameters(self.cell, weights) for weights in drawn])

    def _starts(self) -> nnx.List:
        carries = [self.cell.init_carry(config, ()) for config in self.configs]
        if not output_field(carries[0]):
            raise UsageError(f"learned_carry=True needs a carry in plain scale; the carry of {self.cell_name} is not")
        return nnx.List([nnx.Dict({k: nnx.Param(leaf) for k, leaf in c._asdict().items()}) for c in carries])

    def init_carry(self, batch: int | None) -> tuple[Any, ...]:
        """The carry before the first step, learned or the cell's: one entry per layer, `Directions` if bidirectional.

        Use a batch of None for one sequence whose arrays have no axis B.

        Raises:
            UsageError: `batch` is not a size.
        """
        if batch is None:
            return without_batch(self.init_carry(1))
        check_sizes("Recurrent", 0, batch=batch)
        forward = [self._start(layer, batch, backward=False) for layer in range(len(self.configs))]
        if not self.bidirectional:
            return tuple(forward)
        backward = [self._start(layer, batch, backward=True) for layer in range(len(self.configs))]
        return tuple(Directions(*both) for both in zip(forward, backward, strict=True))

    def _start(self, layer: int, batch: int, *, backward: bool) -> Any:
        """A layer's carry before the first step, leaves [B, ...]."""
        carry = self.cell.init_carry(self.configs[layer], (batch,))
        starts = self.backward_starts if backward else self.starts
        if starts is not None:
            learned = {name: starts[layer][name][...] for name in carry._fields}
            carry = type(carry)(*(jnp.broadcast_to(learned[k], v.shape) for k, v in carry._asdict().items()))
        return self._wide(carry)

    def _wide(self, carry: Any) -> Any:
        """A carry cast to the state dtype."""
        return jax.tree.map(lambda leaf: leaf.astype(state_dtype(self.dtype)), carry)

    def _params(self, layer: int, *, backward: bool) -> CellParams:
        """A layer's weights, cast to the dtype of its products."""
        weights = (self.backward_layers if backward else self.layers)[layer]
        return CellParams(self.configs[layer], {name: weights[name][...] for name in weights}).astype(self.dtype)


def with_batch(tree: Any) -> Any:
    """Adds an axis B of size 1 to each array; a list counts as an array."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree, is_leaf=lambda leaf: isinstance(leaf, list))


def without_batch(tree: Any) -> Any:
    """Removes the axis B of size 1 from each array."""
    return jax.tree.map(lambda leaf: leaf[0], tree)
