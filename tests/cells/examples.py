"""Small examples of every registered cell: its default options, and each other option, one at a time."""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells import CELLS, Cell, CellParams

# A config's fields by name; fields that are not here keep their defaults.
SMALL = {"in_features": 3, "features": 4, "num_heads": 2, "spatial_shape": (3, 2), "arity": 3}
OWN = {"rglru": {"in_features": 4}}  # as many features as inputs
BATCH = 2


@dataclasses.dataclass(frozen=True)
class Example:
    """A cell with one choice of its options."""

    name: str
    cell: type[Cell]
    config: typing.Any

    def __repr__(self) -> str:
        return self.name

    def params(self, dtype, seed: int = 0) -> CellParams:
        """Weights of `init` with noise added, since some start at zero and would hide a missing product."""
        rng, params = np.random.default_rng(seed), _initial(self.cell, self.config, seed)
        return jax.tree.map(lambda w: jnp.asarray(w + 0.4 * rng.standard_normal(w.shape), dtype), params)

    def inputs(self, time: int, dtype, seed: int = 1) -> jax.Array:
        """x [B, T, ..., D], normal."""
        shape = (BATCH, time, *getattr(self.config, "spatial_shape", ()), self.config.in_features)
        return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)

    def nodes(self, count: int, dtype, seed: int = 1) -> jax.Array:
        """Inputs [N, D] of a tree cell, normal."""
        return jnp.asarray(np.random.default_rng(seed).standard_normal((count, self.config.in_features)), dtype)

    def start(self, dtype):
        """The carry of `init_carry`."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self.cell.init_carry(self.config, (BATCH,)))


@functools.cache
def _initial(cell, config, seed: int) -> CellParams:
    """Weights of `init` as NumPy arrays; the same for all tests, whatever mode they run in."""
    with jax.enable_x64(False):
        return jax.tree.map(np.asarray, cell.init(jax.random.key(seed), config))


def _options(field: str, hint) -> tuple:
    """What a field can be; how weights start makes no new cell."""
    if field == "recurrent_init":
        return ()
    if hint is bool:
        return True, False
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def examples(kind: str = "sequence") -> list[Example]:
    """One example a cell of that kind and option; names that stand for one cell count once."""
    found = {}
    for name in CELLS.names():
        cell = CELLS.get(name)
        if cell.kind != kind or cell in [example.cell for example in found.values()]:
            continue
        known = SMALL | OWN.get(name, {})
        small = {field.name: known[field.name] for field in dataclasses.fields(cell.Config) if field.name in known}
        found[name] = Example(name, cell, cell.Config(**small))
        for field, hint in typing.get_type_hints(cell.Config).items():
            for option in _options(field, hint):
                if option != getattr(found[name].config, field):
                    label = f"{name}-{field}={option}"
                    found[label] = Example(label, cell, cell.Config(**small, **{field: option}))
    return list(found.values())
