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
from xlstm_jax.ops.recurrence.cudnn import cudnn
from xlstm_jax.ops.recurrence.dropout import Noise
from xlstm_jax.ops.recurrence.newton import NewtonOptions, NewtonReport, newton
from xlstm_jax.ops.recurrence.scan import Steps, in_pieces, scan
from xlstm_jax.shapes import padding_mask, state_dtype

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
            that have it, the latter on accelerators, and "scan" for the rest. A named one never falls back.

    Raises:
        UsageError: an implementation that does not cover the cell or the options.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT)
    if noise is not None:
        noise.check(cell, carry)
        steps = steps._replace(noise_TB=noise.masks(key, cell, carry, x_BTD.shape[1]))
    name = _chosen(cell, noise, remat_every, implementation)
    with jax.named_scope(f"recurrence_{name}"):
        if remat_every is not None:
            y_BT, carry = _rematerialised(name, remat_every, cell, params, steps, carry, start, reverse, noise)
        elif implementation is None and issubclass(cell, LinearCell) and noise is None:

            def branch(run):
                return lambda *args: run(cell, *args, reverse=reverse, noise=None)

            given = (params, steps, carry, start)
            y_BT, carry = jax.lax.platform_dependent(*given, cpu=branch(scan), default=branch(associative))
        else:
            y_BT, carry = IMPLEMENTATIONS[name](cell, params, steps, carry, start, reverse=reverse, noise=noise)
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
    options: NewtonOptions = NewtonOptions(),
) -> tuple[jax.Array, Any, NewtonReport]:
    """`recurrence(implementation="newton")` with options, and with a report: iterations, last change, converged.

    The report is the third value. See `ops.recurrence.newton` for the method; the other arguments are `recurrence`'s.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT)
    y_BT, carry, report = newton(cell, params, steps, carry, start, reverse=reverse, options=options)
    return y_BT.astype(x_BTD.dtype), carry, report


def _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT) -> tuple[Steps, Any, Any]:
    """The steps, the carry and the start value, the latter two in the state's dtype."""
    if cell.kind != "sequence":
        raise UsageError(f"{cell.__name__} is a cell of kind {cell.kind!r}; `recurrence` runs the kind 'sequence'")
    batch, time = x_BTD.shape[:2]
    if time < 1:
        raise UsageError(f"recurrence got x {x_BTD.shape}; a sequence has at least one step")
    padding_BT = None if lengths_B is None else padding_mask(lengths_B, time)
    if padding_BT is not None:
        # Not even a NaN in the padding gets through, or its gradient.
        x_BTD = jnp.where(padding_BT.reshape(batch, time, *(1,) * (x_BTD.ndim - 2)), jnp.zeros_like(x_BTD), x_BTD)
    dtype = state_dtype(x_BTD)
    start = cell.init_carry(params.config, (batch,)) if start is None else start
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
    carry = start if carry is None else jax.tree.map(lambda leaf: leaf.astype(dtype), carry)
    reset_TB = None if reset_BT is None else reset_BT.T
    return Steps(x_BTD, reset_TB, None if padding_BT is None else padding_BT.T), carry, start


def _chosen(cell, noise, remat_every, implementation) -> str:
    """The implementation's name, or an error that says why not."""
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
            f"implementation 'associative' covers cells linear in their carry (minlstm, mingru), got {cell.__name__}"
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
    logging.getLogger(__name__).info("recurrence of %s: %s", cell.__name__, name)
    return name


def _rematerialised(name, length, cell, params, steps, carry, start, reverse, noise):
    """The recurrence in segments, of which a backward pass keeps the carry between them alone."""
    if length < 1:
        raise UsageError(f"remat_every {length} is not allowed; it is a number of steps, at least 1")

    @jax.checkpoint
    def run(carry, steps, params, start):
        y_BL, carry = IMPLEMENTATIONS[name](cell, params, steps, carry, start, reverse=reverse, noise=noise)
        return carry, jnp.swapaxes(y_BL, 0, 1)

    y_TB, carry = in_pieces(
        lambda carry, steps: run(carry, steps, params, start), length, steps, carry, reverse=reverse
    )
    return jnp.swapaxes(y_TB, 0, 1), carry
