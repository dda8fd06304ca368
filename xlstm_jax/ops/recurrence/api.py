"""Runs any cell over time: checks the arguments and calls the implementation selected by `choice`."""

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
    """Runs `cell` over x [B, T, ...] and returns the outputs y [B, T, ...] and the final carry.

    Each step is carry, y_t = step(params, carry, u_t), with u = project(params, x) computed for all steps.

    Args:
        cell: an entry of `CELLS` of kind "sequence".
        params: its weights, from `cell.init`.
        x_BTD: inputs in the weights' dtype, which products and y have too. The carry is at least float32.
        carry: the initial state; None is `start`.
        start: the state after a reset, leaves [B, ...], for example learned; None is `cell.init_carry`.
        lengths_B: [B] ints, lengths under right padding. Padded steps leave the carry unchanged and output zero.
        reset_BT: [B, T] bools, true where a new document begins. The carry becomes `start` between t - 1 and t in
            either direction, so each document has the outputs it has on its own. In reverse a reset at 0 does nothing.
            A reset on padding acts before the next step that is not padding.
        mask_BT: [B, T] bools, false at padded steps, which may be anywhere in a row. `lengths_B` covers right padding.
            If both are given, a step counts only if it is real in both.
        reverse: run from each sequence's end to its start.
        noise: dropout inside the recurrence, with masks drawn from `key`; without a key there are no masks.
        remat_every: store the carry only every n steps and recompute the rest in the backward pass, with memory for
            T / n carries and n steps. For "scan" and "chunked".
        implementation: "scan" (the reference), "chunked" (the same scan with larger products; for a `SplitCell`),
            "associative" (parallel over time; for a `LinearCell`), "newton" (parallel over time, to a tolerance; see
            `newton_recurrence`), "cudnn" (`lstm` on NVIDIA GPUs). None is "chunked" for a `SplitCell`, "associative"
            for a `LinearCell` on accelerators, and "scan" otherwise. A named implementation never falls back to
            another. "scan" always has forward-mode derivatives, the others under `autodiff.forward_mode`.
        return_carries: also return the carry after each step, leaves [B, T, ...]. In reverse, the carry at t has seen t
            and later steps. Not for "cudnn".

    Raises:
        UsageError: shapes or dtypes that do not fit; a carry of another cell or batch size; an implementation that
            does not cover the cell or the options; for a `LinearCell` under a mesh whose axis "context" splits time,
            a T that its number of devices does not divide.
    """
    steps, carry, start = _prepared(cell, params, x_BTD, carry, start, lengths_B, reset_BT, mask_BT, reverse)
    if implementation == "cudnn" and mask_BT is not None:
        raise UsageError("implementation 'cudnn' takes lengths but no mask; use 'chunked' or 'scan'")
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
        # The scope's name appears in the compiled program, where profiles and tests read which implementation ran.
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
    """`recurrence(implementation="newton")` with options; also returns a report: iterations, last change, converged.

    The report is the third value. `ops.recurrence.newton` describes the method. The other arguments are `recurrence`'s.
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
    """Checks arguments; returns the steps, and the carry and start value in the state's dtype."""
    if cell.kind != "sequence":
        raise UsageError(f"{cell.__name__} is a cell of kind {cell.kind!r}; `recurrence` needs kind 'sequence'")
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
    """y [B, T, ...] for zero rows or zero steps; trailing axes are inferred from a single row and step."""

    def one(params, x_BTD):
        u = jax.tree.map(lambda leaf: leaf[:, 0], cell.project(params, x_BTD))
        return cell.step(params, cell.init_carry(params.config, (1,)), u)[1]

    y_BD = jax.eval_shape(one, params, jax.ShapeDtypeStruct((1, 1, *x_BTD.shape[2:]), x_BTD.dtype))
    return jnp.zeros((*x_BTD.shape[:2], *y_BD.shape[1:]), x_BTD.dtype)


def _empty_carries(carry: Any, x_BTD: jax.Array) -> Any:
    """Carries after each step, leaves [B, T, ...], for zero rows or zero steps."""
    return jax.tree.map(lambda leaf: jnp.zeros((*x_BTD.shape[:2], *leaf.shape[1:]), leaf.dtype), carry)


def _rematerialised(run, length, params, steps, carry, start, *, reverse):
    """Runs the recurrence in segments; the backward pass stores only the carry between them."""

    @jax.checkpoint
    def segment(carry, steps, params, start):
        y_BL, carry = run(params, steps, carry, start)
        return carry, swapped(y_BL)

    def piece(carry, steps):
        return segment(carry, steps, params, start)

    y_TB, carry = in_pieces(piece, length, steps, carry, reverse=reverse)
    return swapped(y_TB), carry
