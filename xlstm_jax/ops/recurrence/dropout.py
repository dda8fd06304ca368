"""Dropout inside a recurrence."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import SplitCell, output_field, output_of
from xlstm_jax.checks import check_choice
from xlstm_jax.config import Rate, check_value
from xlstm_jax.errors import UsageError

Kind = Literal["variational", "recurrent", "zoneout"]


@dataclasses.dataclass(frozen=True)
class Noise:
    """Dropout between one step and the next.

    Args:
        kind: "variational" drops features of the feedback with one mask per sequence (Gal & Ghahramani 2016, arXiv
            1512.05287); "recurrent" does so with a new mask at each step. Both act only on the products of
            `SplitCell.recur`, not on the stored carry, and scale the rest by 1/(1 - rate). "zoneout" keeps features of
            the whole carry at their old value, with a new mask at each step (Krueger et al. 2016, arXiv 1606.01305).
        rate: the fraction of features dropped, or kept at their old value.

    Raises:
        UsageError: raised by `check` for a cell without recurrent products, or whose carry is not in plain scale.
    """

    kind: Kind
    rate: float

    def check(self, cell: type[Cell], carry: Any) -> None:
        """Raises unless the cell supports this kind of dropout."""
        check_choice("dropout_kind", self.kind, Kind)
        check_value(Rate, self.rate, "dropout rate")
        if self.kind == "zoneout" and not output_field(carry):
            raise UsageError(
                f"dropout_kind 'zoneout' mixes old and new carry, but {cell.__name__}'s have no common scale"
            )
        if self.kind != "zoneout" and not issubclass(cell, SplitCell):
            what = f"acts on recurrent products, which {cell.__name__} lacks; use 'between_layers'"
            raise UsageError(f"dropout_kind {self.kind!r} {what}")

    def masks(self, key: jax.Array | None, cell: type[Cell], carry: Any, time: int) -> Any:
        """Masks with leaves [T, B, ...], true for features kept (zoneout: updated); None without a key."""
        if key is None:
            return None
        leaves, tree = jax.tree.flatten(carry if self.kind == "zoneout" else cell.feedback(carry))
        lead = (1,) if self.kind == "variational" else (time,)
        masks = [
            jnp.broadcast_to(
                jax.random.bernoulli(k, jnp.float32(1 - self.rate), lead + leaf.shape), (time, *leaf.shape)
            )
            for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
        ]
        return jax.tree.unflatten(tree, masks)

    def thin(self, h: Any, mask: Any) -> Any:
        """The feedback h with the mask [B, ...] applied; unchanged without a mask."""
        if mask is None:
            return h
        return jax.tree.map(lambda h, keep: jnp.where(keep, h / (1 - self.rate), jnp.zeros_like(h)), h, mask)

    def step(self, cell: type[Cell], params: CellParams, carry: Any, u: Any, mask: Any) -> tuple[Any, jax.Array]:
        """The cell's step with the mask applied. Without a mask, zoneout takes the mean and the others do nothing."""
        if self.kind != "zoneout":
            h = self.thin(cell.feedback(carry), mask)
            return cell.update(params.only(cell.inner), carry, u, cell.recur(params, h))
        after, _ = cell.step(params, carry, u)
        if mask is None:
            after = jax.tree.map(lambda old, new: self.rate * old + (1 - self.rate) * new, carry, after)
        else:
            after = jax.tree.map(jnp.where, mask, after, carry)
        return after, output_of(after)
