"""Any cell as a layer, or as a stack of layers."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.ops.recurrence import recurrence


class Recurrent(nnx.Module):
    """`num_layers` layers of one cell, each reading the one below; dropout between layers.

    Args:
        cell: a name in `CELLS`.
        in_features: width of the inputs.
        features: width of each layer's output.
        num_layers: depth of the stack.
        dropout: rate of dropout on the output of every layer but the last; active where a `key` is given.
        dtype: of the products; parameters and carry are float32.
        rngs: the `params` stream makes the weights.
        **options: further fields of the cell's config, such as `forget_bias`.
    """

    def __init__(
        self,
        cell: str,
        in_features: int,
        features: int,
        *,
        num_layers: int = 1,
        dropout: float = 0.0,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        self.cell = CELLS.get(cell)
        self.dtype = dtype
        self.dropout = nnx.Dropout(dropout)
        self.configs = tuple(
            self.cell.Config(in_features=in_features if layer == 0 else features, features=features, **options)
            for layer in range(num_layers)
        )
        self.layers = nnx.List(
            nnx.Dict({name: nnx.Param(weight) for name, weight in self.cell.init(rngs.params(), config).items()})
            for config in self.configs
        )

    def init_carry(self, batch: int) -> tuple[Any, ...]:
        """The carry before the first step, one entry a layer."""
        return tuple(self.cell.init_carry(config, (batch,)) for config in self.configs)

    def __call__(
        self,
        x_BTD: jax.Array,
        carry: tuple[Any, ...] | None = None,
        *,
        lengths: jax.Array | None = None,
        reset: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Outputs [B, T, features] of the last layer, and the carry of all; arguments as in `ops.recurrence`."""
        x = x_BTD.astype(self.dtype)
        carries = []
        for layer, (config, weights) in enumerate(zip(self.configs, self.layers, strict=True)):
            if layer and key is not None:
                x = self.dropout(x, deterministic=False, rngs=jax.random.fold_in(key, layer))
            params = CellParams(config, {name: weights[name][...].astype(self.dtype) for name in weights})
            x, after = recurrence(
                self.cell,
                params,
                x,
                carry=None if carry is None else carry[layer],
                lengths_B=lengths,
                reset_BT=reset,
            )
            carries.append(after)
        return x, tuple(carries)
