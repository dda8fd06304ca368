"""Any cell over time: arguments checked, and run by the implementation that `choice` names."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.checks import checked, checked_carry, is_empty
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence.choice import IMPLEMENTATIONS, Implementation, chosen, of_any_length
from xlstm_jax.ops.recurrence.context import over_context
from xlstm_jax.ops.recurrence.dropout import Noise
from xlstm_jax.ops.recurrence.newton import NewtonOptions, NewtonReport, newton
from xlstm_jax.ops.recurrence.scan import Steps, in_pieces, swapped
from xlstm_jax.shapes import is_known, padding, state_dtype, steps_after_reset, zero_where
from xlstm_jax.sharding import varying


def recurrence(
    cell: type[Cell],
    params: CellParams,
    x_BTD: jax.Array,
    *,
    carry: Any = None,
    start: Any = None,
    lengths_B: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    mask_BT: jax.Array | None = None,
    reverse: bool = False,
    noise: Noise | None = None,
    key: jax.Array | None = None,
    remat_every: int | None = None,
    implementation: Implementation | None = None,
    return_carries: bool = False,
) -> tuple[jax.Array, Any] | tuple[jax.Array, Any, Any]:
    """Outputs [B, T, ...] and final carry of `cell` over x [B, T, ...]: y_t from step(params, carry, project(x)_t).

    Args:
        cell: an entry of `CELLS` of kind "sequence".
        params: its weights, from `cell.init`.
        x_BTD: inputs, in the weights' dtype: that of the products, and of y. The carry is at least float32.
        carry: the state to start from; None is `start`.
        start: what a reset returns to, leaves [B, ...], learned perhaps; None is `cell.init_carry`.
        lengths_B: [B] ints, right padding: padded steps leave the carry as it is and give zero output.
        reset_BT: [B, T] bools, true where another document begins: the carry becomes `start` between t - 1 and t, in
            either direction, so that each document gives what it gives alone. In reverse a reset at 0 does nothing.
            On padding a reset acts before the next step that is taken.
        mask_BT: [B, T] bools, false where a step is padding, anywhere in a row; `lengths_B` is the case of right
            padding. With both, a step is taken where both have it.
        reverse: run from each sequence's end to its start.
        noise: dropout inside the recurrence; its masks are drawn from `key`, and without one there are none.
        remat_every: keep the carry at every so many steps alone, and compute the rest again in the backward pass:
            memory of T / n carries and n steps. Forms "scan" and "chunked".
        implementation: "scan" (the reference), "chunked" (the same scan with larger products; `SplitCell`),
            "associative" (parallel over time; `LinearCell`), "newton" (parallel over time, to a tolerance; see
            `newton_recurrence`), "cudnn" (`lstm` on NVIDIA GPUs). None is "chunked" or "associative" for the cells
            that have it, the latter on accelerators, and "scan" for the rest. A named one never falls back. "scan" has
            forward-mode derivatives too, the others under `autodiff.forward_mode`.
        return_carries: also return the carry after each step, leaves [B, T, ...]: in reverse that at t has seen t and
            what follows. Not in "cudnn".

    Raises:
        UsageError: shapes or dtypes that do not fit; a carry of another cell or batch size; an implementation that
            does not cover the cell or the options; for a `LinearCell`, which runs on parts of a sequence where the
            mesh's axis "context" splits time, a T that its devices do not divide.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT, mask_BT, reverse)
    if implementation == "cudnn" and mask_BT is not None:
        raise UsageError("implementation 'cudnn' has lengths and no mask; use 'chunked' or 'scan'")
    if noise is not None:
        noise.check(cell, carry)
        steps = steps._replace(noise_TB=noise.masks(key, cell, carry, steps.x_BTD.shape[1]))
    name = chosen(cell, noise, remat_every, implementation)
    if is_empty(steps.x_BTD):
        empty = _empty_outputs(cell, params, steps.x_BTD), carry
        return (*empty, _empty_carries(carry, steps.x_BTD)) if return_carries else empty
    if not is_known(steps.x_BTD.shape[1]):
        name = implementation = of_any_length(remat_every, implementation)
    given = (params, steps, carry, start)

    def run(name, params, steps, carry, start):
        # The scope's name is in the compiled program: profiles, and the test of which one ran, read it there.
        with jax.named_scope(f"recurrence_{name}"):
            options = {"reverse": reverse, "noise": noise, "record": return_carries}
            return IMPLEMENTATIONS[name](cell, params, steps, carry, start, **options)

    if remat_every is not None:
        y_BT, carry = _rematerialised(functools.partial(run, name), remat_every, *given, reverse=reverse)
    elif not issubclass(cell, LinearCell) or noise is not None or name not in ("scan", "associative"):
        y_BT, carry = run(name, *given)
    else:
        forms = {"cpu": functools.partial(run, "scan"), "default": functools.partial(run, "associative")}
        chosen_here = functools.partial(jax.lax.platform_dependent, **forms)
        linear = chosen_here if implementation is None else functools.partial(run, name)
        y_BT, carry = linear(*given) if reverse else over_context(cell, linear, *given, record=return_carries)
    if return_carries:
        y_BT, carries_BT = y_BT
        return y_BT.astype(steps.x_BTD.dtype), carry, carries_BT
    return y_BT.astype(steps.x_BTD.dtype), carry


def newton_recurrence(
    cell: type[Cell],
    params: CellParams,
    x_BTD: jax.Array,
    *,
    carry: Any = None,
    start: Any = None,
    lengths_B: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    mask_BT: jax.Array | None = None,
    reverse: bool = False,
    options: NewtonOptions | None = None,
) -> tuple[jax.Array, Any, NewtonReport]:
    """`recurrence(implementation="newton")` with options, and with a report: iterations, last change, converged.

    The report is the third value. See `ops.recurrence.newton` for the method; the other arguments are `recurrence`'s.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT, mask_BT, reverse)
    options = options or NewtonOptions()
    if is_empty(steps.x_BTD):
        report = NewtonReport(jnp.int32(0), jnp.zeros((), state_dtype(steps.x_BTD)), jnp.array(True))
        return _empty_outputs(cell, params, steps.x_BTD), carry, report
    with jax.named_scope("recurrence_newton"):
        y_BT, carry, report = newton(cell, params, steps, carry, start, reverse=reverse, options=options)
    return y_BT.astype(steps.x_BTD.dtype), carry, report


def _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT, mask_BT, reverse: bool) -> tuple[Steps, Any, Any]:
    """The steps, the carry and the start value, the latter two in the state's dtype."""
    if cell.kind != "sequence":
        raise UsageError(f"{cell.__name__} is a cell of kind {cell.kind!r}; `recurrence` runs the kind 'sequence'")
    op, sizes = f"recurrence of {cell.__name__}", cell.input_sizes(params.config)
    named = {f"x_BT{''.join(sizes)}": x_BTD, "lengths_B": lengths_B, "reset_BT": reset_BT, "mask_BT": mask_BT}
    x_BTD, lengths_B, reset_BT, mask_BT = checked(op, sizes, **named)
    batch, time = x_BTD.shape[:2]
    padding_BT = padding(lengths_B, mask_BT, (batch, time))
    x_BTD = zero_where(padding_BT, x_BTD)
    dtype = state_dtype(x_BTD)
    empty = jax.tree.map(lambda leaf: leaf.astype(dtype), cell.init_carry(params.config, (batch,)))
    start = empty if start is None else checked_carry(op, start, empty, "start")
    carry = start if carry is None else checked_carry(op, carry, empty)
    reset_TB = None
    if reset_BT is not None:
        reset_TB = steps_after_reset(reset_BT, padding_BT, holes=mask_BT is not None, reverse=reverse).T
    steps = Steps(x_BTD, reset_TB, None if padding_BT is None else padding_BT.T)
    return steps, *varying((carry, start), steps, params)


def _empty_outputs(cell, params, x_BTD) -> jax.Array:
    """y [B, T, ...] of no rows or no steps; a step's own axes are those of one row and step."""

    def one(params, x_BTD):
        u = jax.tree.map(lambda leaf: leaf[:, 0], cell.project(params, x_BTD))
        return cell.step(params, cell.init_carry(params.config, (1,)), u)[1]

    y_BD = jax.eval_shape(one, params, jax.ShapeDtypeStruct((1, 1, *x_BTD.shape[2:]), x_BTD.dtype))
    return jnp.zeros((*x_BTD.shape[:2], *y_BD.shape[1:]), x_BTD.dtype)


def _empty_carries(carry: Any, x_BTD: jax.Array) -> Any:
    """Carries after each step, leaves [B, T, ...], of no rows or no steps."""
    return jax.tree.map(lambda leaf: jnp.zeros((*x_BTD.shape[:2], *leaf.shape[1:]), leaf.dtype), carry)


def _rematerialised(run, length, params, steps, carry, start, *, reverse):
    """The recurrence in segments, of which a backward pass keeps the carry between them alone."""

    @jax.checkpoint
    def segment(carry, steps, params, start):
        y_BL, carry = run(params, steps, carry, start)
        return carry, swapped(y_BL)

    def piece(carry, steps):
        return segment(carry, steps, params, start)

    y_TB, carry = in_pieces(piece, length, steps, carry, reverse=reverse)
    return swapped(y_TB), carry
