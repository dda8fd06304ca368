"""Small examples of every registered cell: its default options, and every other option, one at a time."""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells import CELLS, Cell, CellParams

# Values of config fields by name; other fields keep their defaults.
SMALL = {"in_features": 3, "features": 4, "num_heads": 2, "spatial_shape": (3, 2), "arity": 3}
OWN = {"rglru": {"in_features": 4}, "grud": {"in_features": 6}}  # must equal features; three numbers per variable
BATCH = 2


@dataclasses.dataclass(frozen=True)
class Example:
    """A cell with one choice of options."""

    name: str
    cell: type[Cell]
    config: typing.Any

    def __repr__(self) -> str:
        return self.name

    @property
    def without_bias(self) -> bool:
        """Whether the cell has the option `bias` and it is off."""
        return not getattr(self.config, "bias", True)

    def params(self, dtype, seed: int = 0) -> CellParams:
        """Weights of `init` plus noise, because weights that start at zero would hide a missing product."""
        rng, params = np.random.default_rng(seed), _initial(self.cell, self.config, seed)
        return jax.tree.map(lambda w: jnp.asarray(w + 0.4 * rng.standard_normal(w.shape), dtype), params)

    def inputs(self, time: int, dtype, seed: int = 1) -> jax.Array:
        """Normally distributed x [B, T, ..., D]."""
        shape = (BATCH, time, *getattr(self.config, "spatial_shape", ()), self.config.in_features)
        return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)

    def nodes(self, count: int, dtype, seed: int = 1) -> jax.Array:
        """Normally distributed inputs [N, D] of a tree cell."""
        return jnp.asarray(np.random.default_rng(seed).standard_normal((count, self.config.in_features)), dtype)

    def start(self, dtype):
        """The carry of `init_carry`, cast to `dtype`."""
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self.cell.init_carry(self.config, (BATCH,)))


@functools.cache
def _initial(cell, config, seed: int) -> CellParams:
    """Weights of `init` as NumPy arrays; the same for all tests, with or without x64 mode."""
    with jax.enable_x64(False):
        return jax.tree.map(np.asarray, cell.init(jax.random.key(seed), config))


def _options(field: str, hint) -> tuple:
    """The options of a field; none for `recurrent_init`, which does not change the equations."""
    if field == "recurrent_init":
        return ()
    if hint is bool:
        return True, False
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def examples_of(name: str) -> list[Example]:
    """Examples of a registered cell: with its default options, and with each other option."""
    cell, known = CELLS.get(name), SMALL | OWN.get(name, {})
    small = {field.name: known[field.name] for field in dataclasses.fields(cell.Config) if field.name in known}
    found = [Example(name, cell, cell.Config(**small))]
    for field, hint in typing.get_type_hints(cell.Config).items():
        for option in _options(field, hint):
            if option != getattr(found[0].config, field):
                found.append(Example(f"{name}-{field}={option}", cell, cell.Config(**small, **{field: option})))
    return found


def examples(kind: str = "sequence") -> list[Example]:
    """Examples of every cell of a kind; a cell with several names appears once."""
    first_names = {}
    for name in CELLS.names():
        first_names.setdefault(CELLS.get(name), name)
    return [one for cell, name in first_names.items() if cell.kind == kind for one in examples_of(name)]
