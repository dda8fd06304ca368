"""What a stack of recurrent layers holds: weights, and the carry before the first step."""

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


class RecurrentWeights(nnx.Module):
    """Weights of one cell for each layer of a stack, in one direction or both, and starts where they are learned.

    Args:
        cell: what the weights are of, and its registered name for messages.
        configs: the cell's config of each layer.
        bidirectional: the second direction has weights of its own.
        learned_carry: the carry before the first step is a parameter.
        dtype: in which the weights are used; the carry's is at least float32.
        rngs: the `params` stream makes the weights.

    Raises:
        UsageError: a learned carry whose numbers have no scale of their own.
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
        return nnx.List([nnx.Dict({name: self._param(name, w) for name, w in params.items()}) for params in drawn])

    def _param(self, name: str, weight: jax.Array) -> nnx.Param:
        return nnx.Param(weight, decay=False) if name in self.cell.undecayed else nnx.Param(weight)

    def _starts(self) -> nnx.List:
        carries = [self.cell.init_carry(config, ()) for config in self.configs]
        if not output_field(carries[0]):
            raise UsageError(f"learned_carry=True needs a carry in plain scale, which that of {self.cell_name} is not")
        return nnx.List([nnx.Dict({k: nnx.Param(leaf) for k, leaf in c._asdict().items()}) for c in carries])

    def init_carry(self, batch: int | None) -> tuple[Any, ...]:
        """The carry before the first step, learned or the cell's own, one entry a layer, `Directions` if both.

        A batch of None is one sequence whose arrays have no axis B.

        Raises:
            UsageError: a batch that is no size.
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
        """A carry in the dtype in which it is kept."""
        return jax.tree.map(lambda leaf: leaf.astype(state_dtype(self.dtype)), carry)

    def _params(self, layer: int, *, backward: bool) -> CellParams:
        """A layer's weights in the dtype of its products."""
        weights = (self.backward_layers if backward else self.layers)[layer]
        return CellParams(self.configs[layer], {name: weights[name][...] for name in weights}).astype(self.dtype)


def with_batch(tree: Any) -> Any:
    """Each array, or list for one, with an axis B of one row."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree, is_leaf=lambda leaf: isinstance(leaf, list))


def without_batch(tree: Any) -> Any:
    """Each array [B, ...] of one row as [...]."""
    return jax.tree.map(lambda leaf: leaf[0], tree)
