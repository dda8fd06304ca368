"""Tree cells as a layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.checks import check_dtype, checked
from xlstm_jax.config import from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.nn.recurrent_weights import parameters
from xlstm_jax.ops.tree import Forest, tree_recurrence


class Tree(nnx.Module):
    """A cell of kind "tree" over forests: `Tree("treelstm_childsum", 300, 150, rngs=rngs)(x_ND, forest(children_NC))`.

    Args:
        cell: a name in `CELLS` of kind "tree".
        in_features: width of the nodes' inputs.
        features: width of the outputs.
        dtype: of the products and outputs; parameters and states are float32.
        rngs: the `params` stream initialises the weights.
        **options: further fields of the cell's config, such as `arity`.
    """

    def __init__(
        self,
        cell: str,
        in_features: int,
        features: int,
        *,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.cell, self.dtype = CELLS.get(cell), dtype
        check_dtype("Tree", dtype)
        if self.cell.kind != "tree":
            raise UsageError(f"cell {cell!r} is of kind {self.cell.kind!r}; `Tree` needs kind 'tree'")
        self.config = from_section(
            self.cell.Config, {"in_features": in_features, "features": features, **options}, cell
        )
        self.weights = parameters(self.cell, self.cell.init(rngs.params(), self.config))

    def __call__(self, x_ND: jax.Array, shape: Forest) -> tuple[jax.Array, Any]:
        """Outputs [N, features] and states of all nodes; see `ops.tree.tree_recurrence`."""
        (x_ND,) = checked("Tree", self.cell.input_sizes(self.config), x_ND=x_ND)
        params = CellParams(self.config, {name: weight[...] for name, weight in self.weights.items()}).astype(
            self.dtype
        )
        return tree_recurrence(self.cell, params, x_ND.astype(self.dtype), shape)
