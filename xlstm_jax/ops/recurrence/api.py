"""Any cell over time: arguments checked, an implementation chosen."""

import functools
import logging
from typing import Any, Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import LinearCell, SplitCell
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence.associative import associative
from xlstm_jax.ops.recurrence.chunked import chunked
from xlstm_jax.ops.recurrence.context import over_context
from xlstm_jax.ops.recurrence.cudnn import cudnn
from xlstm_jax.ops.recurrence.dropout import Noise
from xlstm_jax.ops.recurrence.newton import NewtonOptions, NewtonReport, newton
from xlstm_jax.ops.recurrence.scan import Steps, in_pieces, scan
from xlstm_jax.shapes import padding_mask, state_dtype, zero_padding
from xlstm_jax.sharding import varying

Implementation = Literal["scan", "chunked", "associative", "newton", "cudnn"]


def _newton(cell, params, steps, carry, start, *, reverse, noise):
    del noise
    return newton(cell, params, steps, carry, start, reverse=reverse, options=NewtonOptions())[:2]


IMPLEMENTATIONS = {"scan": scan, "chunked": chunked, "associative": associative, "newton": _newton, "cudnn": cudnn}
# Those that can drop parts of the carry, and be taken a segment at a time.
SEQUENTIAL = ("scan", "chunked")


def recurrence(
    cell: type[Cell],
    params: CellParams,
    x_BTD: jax.Array,
    *,
    carry: Any = None,
    start: Any = None,
    lengths_B: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    reverse: bool = False,
    noise: Noise | None = None,
    key: jax.Array | None = None,
    remat_every: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[jax.Array, Any]:
    """Outputs [B, T, ...] and final carry of `cell` over x [B, T, ...]: y_t from step(params, carry, project(x)_t).

    Args:
        cell: an entry of `CELLS` of kind "sequence".
        params: its weights, from `cell.init`.
        x_BTD: inputs, in the weights' dtype: that of the products, and of y. The carry is at least float32.
        carry: the state to start from; None is `start`.
        start: what a reset returns to, leaves [B, ...], learned perhaps; None is `cell.init_carry`.
        lengths_B: [B] ints, right padding: padded steps leave the carry as it is and give zero output.
        reset_BT: [B, T] bools, true where the carry becomes `start` before that step is taken.
        reverse: run from each sequence's end to its start.
        noise: dropout inside the recurrence; its masks are drawn from `key`, and without one there are none.
        remat_every: keep the carry at every so many steps alone, and compute the rest again in the backward pass:
            memory of T / n carries and n steps. Forms "scan" and "chunked".
        implementation: "scan" (the reference), "chunked" (the same scan with larger products; `SplitCell`),
            "associative" (parallel over time; `LinearCell`), "newton" (parallel over time, to a tolerance; see
            `newton_recurrence`), "cudnn" (`lstm` on NVIDIA GPUs). None is "chunked" or "associative" for the cells
            that have it, the latter on accelerators, and "scan" for the rest. A named one never falls back. "scan" has
            forward-mode derivatives too, the others under `autodiff.forward_mode`.

    Raises:
        UsageError: an implementation that does not cover the cell or the options; for a `LinearCell`, which runs on
            parts of a sequence where the mesh's axis "context" splits time, a T that its devices do not divide.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT)
    if noise is not None:
        noise.check(cell, carry)
        steps = steps._replace(noise_TB=noise.masks(key, cell, carry, x_BTD.shape[1]))
    name = chosen(cell, noise, remat_every, implementation)
    given = (params, steps, carry, start)

    def run(name, params, steps, carry, start):
        # The scope's name stands in the compiled program: profiles, and the test of which one ran, go by it.
        with jax.named_scope(f"recurrence_{name}"):
            return IMPLEMENTATIONS[name](cell, params, steps, carry, start, reverse=reverse, noise=noise)

    if remat_every is not None:
        y_BT, carry = _rematerialised(functools.partial(run, name), remat_every, *given, reverse=reverse)
    elif not issubclass(cell, LinearCell) or noise is not None or name not in ("scan", "associative"):
        y_BT, carry = run(name, *given)
    else:
        forms = {"cpu": functools.partial(run, "scan"), "default": functools.partial(run, "associative")}
        chosen_here = functools.partial(jax.lax.platform_dependent, **forms)
        linear = chosen_here if implementation is None else functools.partial(run, name)
        y_BT, carry = linear(*given) if reverse else over_context(cell, linear, *given)
    return y_BT.astype(x_BTD.dtype), carry


def newton_recurrence(
    cell: type[Cell],
    params: CellParams,
    x_BTD: jax.Array,
    *,
    carry: Any = None,
    start: Any = None,
    lengths_B: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    reverse: bool = False,
    options: NewtonOptions | None = None,
) -> tuple[jax.Array, Any, NewtonReport]:
    """`recurrence(implementation="newton")` with options, and with a report: iterations, last change, converged.

    The report is the third value. See `ops.recurrence.newton` for the method; the other arguments are `recurrence`'s.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT)
    options = options or NewtonOptions()
    with jax.named_scope("recurrence_newton"):
        y_BT, carry, report = newton(cell, params, steps, carry, start, reverse=reverse, options=options)
    return y_BT.astype(x_BTD.dtype), carry, report


def _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT) -> tuple[Steps, Any, Any]:
    """The steps, the carry and the start value, the latter two in the state's dtype."""
    if cell.kind != "sequence":
        raise UsageError(f"{cell.__name__} is a cell of kind {cell.kind!r}; `recurrence` runs the kind 'sequence'")
    if x_BTD.ndim < 3:
        raise UsageError(f"recurrence got x {x_BTD.shape}; wanted [B, T, ..., D]")
    batch, time = x_BTD.shape[:2]
    if time < 1:
        raise UsageError(f"recurrence got x {x_BTD.shape}; a sequence has at least one step")
    lengths_B, reset_BT = (None if given is None else jnp.asarray(given) for given in (lengths_B, reset_BT))
    if lengths_B is not None and lengths_B.shape != (batch,):
        raise UsageError(f"recurrence got lengths {lengths_B.shape} for x {x_BTD.shape}; wanted [B] = {(batch,)}")
    if reset_BT is not None and reset_BT.shape != (batch, time):
        raise UsageError(f"recurrence got reset {reset_BT.shape} for x {x_BTD.shape}; wanted [B, T] = {(batch, time)}")
    padding_BT = None if lengths_B is None else padding_mask(lengths_B, time)
    x_BTD = zero_padding(x_BTD, lengths_B)
    dtype = state_dtype(x_BTD)
    start = cell.init_carry(params.config, (batch,)) if start is None else start
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    carry = start if carry is None else jax.tree.map(lambda leaf: leaf.astype(dtype), carry)
    masks_TB = (None if mask is None else mask.T for mask in (reset_BT, padding_BT))
    steps = Steps(x_BTD, *masks_TB)
    return steps, *varying((carry, start), steps, params)


def chosen(cell: type[Cell], noise: Noise | None, remat_every: int | None, implementation: str | None) -> str:
    """The implementation's name, or an error that says why not."""
    if remat_every is not None and remat_every < 1:
        raise UsageError(f"remat_every {remat_every} is not allowed; it is a number of steps, at least 1")
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


@functools.cache
def _choose(cell, zoneout: bool) -> str:
    name = "chunked" if issubclass(cell, SplitCell) and not zoneout else "scan"
    elsewhere = ", associative on accelerators" if issubclass(cell, LinearCell) and not zoneout else ""
    logging.getLogger(__name__).info("recurrence of %s: %s%s", cell.__name__, name, elsewhere)
    return name


def _rematerialised(run, length, params, steps, carry, start, *, reverse):
    """The recurrence in segments, of which a backward pass keeps the carry between them alone."""

    @jax.checkpoint
    def segment(carry, steps, params, start):
        y_BL, carry = run(params, steps, carry, start)
        return carry, jnp.swapaxes(y_BL, 0, 1)

    def piece(carry, steps):
        return segment(carry, steps, params, start)

    y_TB, carry = in_pieces(piece, length, steps, carry, reverse=reverse)
    return jnp.swapaxes(y_TB, 0, 1), carry
