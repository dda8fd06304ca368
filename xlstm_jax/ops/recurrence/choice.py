"""The implementations of a recurrence over time, and the choice among them for a cell and its options."""

import functools
import logging
from typing import Literal

from xlstm_jax.cells import Cell
from xlstm_jax.cells.base import LinearCell, SplitCell
from xlstm_jax.checks import check_sizes
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence.associative import associative
from xlstm_jax.ops.recurrence.chunked import chunked
from xlstm_jax.ops.recurrence.cudnn import cudnn
from xlstm_jax.ops.recurrence.dropout import Noise
from xlstm_jax.ops.recurrence.newton import NewtonOptions, newton
from xlstm_jax.ops.recurrence.scan import scan

Implementation = Literal["scan", "chunked", "associative", "newton", "cudnn"]


def _newton(cell, params, steps, carry, start, *, reverse, noise, record):
    del noise
    return newton(cell, params, steps, carry, start, reverse=reverse, options=NewtonOptions(), record=record)[:2]


IMPLEMENTATIONS = {"scan": scan, "chunked": chunked, "associative": associative, "newton": _newton, "cudnn": cudnn}
# Implementations that support dropout inside the recurrence and `remat_every`.
SEQUENTIAL = ("scan", "chunked")


def chosen(cell: type[Cell], noise: Noise | None, remat_every: int | None, implementation: str | None) -> str:
    """Returns the name of the implementation to run: the given one, or the cell's default for None.

    Raises:
        UsageError: the given one is unknown, or does not cover the cell or its options.
    """
    if remat_every is not None:
        check_sizes("recurrence", remat_every=remat_every)
    zoneout = noise is not None and noise.kind == "zoneout"
    if implementation is None:
        return _choose(cell, zoneout)
    if implementation not in IMPLEMENTATIONS:
        known = ", ".join(map(repr, IMPLEMENTATIONS))
        raise UsageError(f"recurrence implementation {implementation!r} is unknown; known: {known}")
    if implementation == "chunked" and not issubclass(cell, SplitCell):
        raise UsageError(
            f"implementation 'chunked' covers cells with recurrent products, got {cell.__name__}; use 'scan'"
        )
    if implementation == "associative" and not issubclass(cell, LinearCell):
        raise UsageError(
            "implementation 'associative' covers cells linear in their carry (minlstm, mingru, rglru), "
            f"got {cell.__name__}"
        )
    if implementation == "chunked" and zoneout:
        raise UsageError("implementation 'chunked' has no zoneout; use 'scan'")
    if implementation not in SEQUENTIAL and (noise is not None or remat_every is not None):
        raise UsageError(
            f"implementation {implementation!r} takes neither dropout inside the recurrence nor remat_every"
        )
    return implementation


def of_any_length(remat_every: int | None, implementation: str | None) -> str:
    """The implementation for a symbolic T of `jax.export`: "scan", since the others split the sequence.

    Raises:
        UsageError: another implementation is named, or `remat_every` is given.
    """
    if remat_every is not None or implementation not in (None, "scan"):
        named = f"implementation {implementation!r}" if remat_every is None else f"remat_every={remat_every}"
        raise UsageError(f"{named} needs a known number of steps, got a symbolic one; use 'scan' or None")
    return "scan"


@functools.cache
def _choose(cell, zoneout: bool) -> str:
    name = "chunked" if issubclass(cell, SplitCell) and not zoneout else "scan"
    elsewhere = ", associative on accelerators" if issubclass(cell, LinearCell) and not zoneout else ""
    logging.getLogger(__name__).info("recurrence of %s: %s%s", cell.__name__, name, elsewhere)
    return name
