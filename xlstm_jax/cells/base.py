"""The contract that every cell keeps, and the registry of cells."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from xlstm_jax.registry import Registry

CELLS: Registry[type["Cell"]] = Registry("cell", package="xlstm_jax.cells")


class Cell:
    """One cell: a namespace of pure functions.

    A cell is time-parallel work (`project`, all that does not need the carry) apart from the recurrence (`step`):
    the first runs once for all T, which is what makes scans fast; the second runs inside the scan.

        params = init(key, config)                   config: the cell's frozen dataclass
        carry  = init_carry(config, batch_shape)     carry: a NamedTuple, leaves [*batch_shape, ...]
        u      = project(params, x_BTD)              any pytree with leaves [B, T, ...]
        carry, y = step(params, carry, u_t)          u_t: leaves [B, ...]; y: [B, features]
    """

    Config: ClassVar[type]
    kind: ClassVar[str] = "sequence"
    init: ClassVar[Any]
    init_carry: ClassVar[Any]
    project: ClassVar[Any]
    step: ClassVar[Any]


@jax.tree_util.register_pytree_with_keys_class
class CellParams(Mapping):
    """Weights of one cell by name; the config that shaped them rides along as static data.

    So `step(params, carry, u)` knows its options under `jit` and `scan`, and gradients have the same type.
    """

    def __init__(self, config: Any, weights: Mapping[str, jax.Array]):
        self.config = config
        self._weights = dict(weights)

    def __getitem__(self, name: str) -> jax.Array:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"CellParams({self.config}, {self._weights})"

    def tree_flatten_with_keys(self):
        names = tuple(sorted(self._weights))
        return [(jax.tree_util.DictKey(name), self._weights[name]) for name in names], (self.config, names)

    @classmethod
    def tree_unflatten(cls, static, leaves):
        config, names = static
        return cls(config, zip(names, leaves, strict=True))


def affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    """x @ w + b: [..., D] x [D, E] -> [..., E]."""
    y = x @ w
    return y + jnp.broadcast_to(b, y.shape)


def recurrent_dot(h: jax.Array, w: jax.Array) -> jax.Array:
    """h @ w in the weight's dtype, summed in the carry's: [..., D] x [D, E] -> [..., E]."""
    return jnp.dot(h.astype(w.dtype), w, preferred_element_type=h.dtype)


def orthogonal_blocks(key: jax.Array, features: int, gates: int) -> jax.Array:
    """Recurrent kernel [features, gates * features]: one orthogonal matrix a gate (Saxe et al. 2014)."""
    init = jax.nn.initializers.orthogonal()
    blocks = [init(k, (features, features), jnp.float32) for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=1)
