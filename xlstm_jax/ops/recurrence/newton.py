"""Newton's method over time: solves a nonlinear recurrence for all steps at once.

All states z_1 ... z_T are unknowns of z_t = f_t(z_{t-1}). Each iteration linearises every step at the current guess and
solves the resulting linear recurrence by `lax.associative_scan`:

    d_t = J_t d_{t-1} + f_t(z_{t-1}) - z_t,    d_0 = 0,    J_t = df_t/dz at z_{t-1}        z <- z + d

After k iterations at least the first k states are exact, so T iterations always suffice. With the full Jacobian this is
DEER (Lim et al. 2024, arXiv 2309.12252), with only its diagonal quasi-DEER (Gonzalez et al. 2024, arXiv 2407.19115).
Gradients solve the adjoint recurrence, l_t = g_t + J_{t+1}^T l_{t+1}, in the same way; they do not differentiate the
iteration.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import output_field
from xlstm_jax.checks import check_choice, check_sizes
from xlstm_jax.config import NonNegativeFloat, check_value
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence.associative import linear_scan
from xlstm_jax.ops.recurrence.jacobian import by_columns, has_own_diagonal, own_diagonal
from xlstm_jax.ops.recurrence.scan import Steps, masked, swapped
from xlstm_jax.sharding import varying

Jacobian = Literal["full", "diagonal"]

# Widest carry whose full Jacobian, [T, B, S, S], is formed.
FULL = 64


@dataclasses.dataclass(frozen=True)
class NewtonOptions:
    """Stopping criteria and Jacobian of `newton`.

    Args:
        tolerance: stop when no state changes by more in an iteration, relative to the state if that is above 1. States
            and gradients then differ from the scan's by about this much. 0: iterate until nothing changes.
        max_iterations: most iterations; None is T, which always suffices.
        jacobian: "full" for carries of at most 64 features, "diagonal" (less work per iteration, more iterations), or
            None: "full" if the width allows it.
    """

    tolerance: float = 1e-5
    max_iterations: int | None = None
    jacobian: Jacobian | None = None

    def __post_init__(self):
        check_value(NonNegativeFloat, self.tolerance, "newton tolerance")
        if self.max_iterations is not None:
            check_sizes("newton", max_iterations=self.max_iterations)
        if self.jacobian is not None:
            check_choice("jacobian", self.jacobian, Jacobian)

    def choice(self, width: int) -> str:
        """The Jacobian to use for a carry of `width` features."""
        if self.jacobian == "full" and width > FULL:
            raise UsageError(f"jacobian 'full' is for carries of at most {FULL} features, got {width}; use 'diagonal'")
        return self.jacobian or ("full" if width <= FULL else "diagonal")


class NewtonReport(NamedTuple):
    iterations: jax.Array  # [] int32
    change: jax.Array  # [] the largest change in the last iteration
    converged: jax.Array  # [] bool: the change is within the tolerance


def newton(
    cell: type[Cell], params: CellParams, steps: Steps, carry: Any, start: Any, *, reverse, options, record=False
) -> tuple[Any, Any, NewtonReport]:
    """Returns y [B, T, ...] (with `record`: (y, carries)), the final carry, and a report of the iteration.

    `options` are `NewtonOptions`. Logs a warning if the iteration does not converge.
    """
    if not output_field(carry):
        raise UsageError(f"implementation 'newton' needs a carry in plain scale, which {cell.__name__} does not have")
    u_TB = swapped(cell.project(params, steps.x_BTD))
    masks_TB = (steps.reset_TB, steps.padding_TB)
    if reverse:
        u_TB, masks_TB = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), (u_TB, masks_TB))
    flatten, unflatten = _flattening(carry)
    states_TBS, report = _solve(cell, options, unflatten, masks_TB, (params, start, u_TB), flatten(carry))
    jax.lax.cond(report.converged, lambda: None, lambda: jax.debug.callback(_warn, report, options.tolerance))
    carries_TB = unflatten(_before(flatten(carry), states_TBS))
    y_TB = jax.vmap(masked(functools.partial(cell.step, params), start))(carries_TB, (u_TB, *masks_TB))[1]
    y_TB = (y_TB, unflatten(states_TBS)) if record else y_TB
    y_TB = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), y_TB) if reverse else y_TB
    return swapped(y_TB), unflatten(states_TBS[-1]), report


def _warn(report: NewtonReport, tolerance: float) -> None:
    if report.converged:  # under vmap both branches of the condition run
        return
    logging.getLogger(__name__).warning(
        "newton did not converge: the last of %d iterations changed a state by %.1e, the tolerance is %.1e; increase "
        "max_iterations, or use implementation='scan'",
        *(report.iterations, report.change, tolerance),
    )


def _flattening(carry: Any) -> tuple[Callable, Callable]:
    """Functions from a carry to [B, S], and back from [..., B, S] to a carry with the same leading axes."""
    leaves, tree = jax.tree.flatten(carry)
    shapes = [leaf.shape[1:] for leaf in leaves]
    sizes = [leaf[0].size for leaf in leaves]

    def flatten(carry):
        parts = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(carry)]
        return jnp.concatenate(parts, axis=-1)

    def unflatten(z):
        ends = [sum(sizes[: n + 1]) for n in range(len(sizes) - 1)]
        parts = jnp.split(z, ends, axis=-1)
        return jax.tree.unflatten(tree, [p.reshape(*z.shape[:-1], *s) for p, s in zip(parts, shapes, strict=True)])

    return flatten, unflatten


def _before(first_BS: jax.Array, states_TBS: jax.Array) -> jax.Array:
    """The state before each step."""
    return jnp.concatenate([first_BS[None], states_TBS[:-1]])


def _transition(cell, unflatten, masks_TB, given, before_TBS):
    """f_t(z_{t-1}) for all t."""
    params, start, u_TB = given
    body = masked(functools.partial(cell.step, params), start)
    after, _ = jax.vmap(body)(unflatten(before_TBS), (u_TB, *masks_TB))
    return _joined(after, before_TBS.shape)


def _joined(tree: Any, shape_TBS: tuple[int, ...]) -> jax.Array:
    return jnp.concatenate([leaf.reshape(*shape_TBS[:2], -1) for leaf in jax.tree.leaves(tree)], axis=-1)


def _linearised(cell, kind, unflatten, masks_TB, given, before_TBS):
    """f_t(z_{t-1}) for all t, and its Jacobian [T, B, S, S] or the Jacobian's diagonal [T, B, S]."""
    transition = functools.partial(_transition, cell, unflatten, masks_TB, given)
    if kind == "diagonal" and has_own_diagonal(cell, given[0]):
        params, start, u_TB = given
        diagonal = own_diagonal(cell, params, start, unflatten(before_TBS), (u_TB, *masks_TB))
        return transition(before_TBS), _joined(diagonal, before_TBS.shape)
    after_TBS, linear = jax.linearize(transition, before_TBS)
    return after_TBS, by_columns(linear, before_TBS, diagonal=kind == "diagonal")


def _linear_recurrence(kind: str, jacobian: jax.Array, b_TBS: jax.Array, *, reverse: bool = False) -> jax.Array:
    """d_t = J_t d_{t-1} + b_t from d_0 = 0; `reverse`: d_t = J_t d_{t+1} + b_t from d_{T+1} = 0."""
    if kind == "diagonal":
        return linear_scan(jacobian, b_TBS, jnp.zeros_like(b_TBS[0]), reverse=reverse)

    def combine(one, two):
        product = jnp.matmul(two[0], one[0], precision="highest")
        return product, jnp.einsum("...ij,...j->...i", two[0], one[1], precision="highest") + two[1]

    return jax.lax.associative_scan(combine, (jacobian, b_TBS), reverse=reverse)[1]


def _moved(kind, jacobian, step_TBS, after_TBS, *, reverse=False):
    """z + d, computed as f(z) + J d of the previous step: exact where that d is zero, however far off z was."""
    zero = jnp.zeros_like(step_TBS[:1])
    before = jnp.concatenate([step_TBS[1:], zero] if reverse else [zero, step_TBS[:-1]])
    if kind == "full":
        moved = jnp.einsum("...ij,...j->...i", jacobian, before, precision="highest")
    else:
        moved = jacobian * before
    new = after_TBS + moved
    # Far from the solution, products of Jacobians can overflow. A plain step then keeps the states that are exact.
    return jnp.where(jnp.isfinite(new), new, after_TBS)


def _iterate(update: Callable, guess_TBS: jax.Array, options: NewtonOptions) -> tuple[jax.Array, NewtonReport]:
    """Repeats `guess <- update(guess)` until nothing changes by more than the tolerance."""
    limit = options.max_iterations or guess_TBS.shape[0]

    def body(loop):
        guess, report = loop
        new = update(guess)
        change = jnp.max(jnp.abs(new - guess) / jnp.maximum(jnp.abs(new), 1))
        done = report.iterations + jnp.int32(1)
        # After T iterations every step is exact, however large the last change.
        return new, NewtonReport(done, change, (change <= options.tolerance) | (done >= guess.shape[0]))

    def going(loop):
        return (loop[1].iterations < limit) & ~loop[1].converged

    begin = NewtonReport(jnp.int32(0), jnp.array(jnp.inf, guess_TBS.dtype), jnp.array(False))
    return jax.lax.while_loop(going, body, (guess_TBS, varying(begin, guess_TBS)))


def _iterated(cell, options, unflatten, masks_TB, given, first_BS):
    """States [T, B, S] and the report."""
    kind = options.choice(first_BS.shape[-1])

    def update(states_TBS):
        before_TBS = _before(first_BS, states_TBS)
        after_TBS, jacobian = _linearised(cell, kind, unflatten, masks_TB, given, before_TBS)
        step_TBS = _linear_recurrence(kind, jacobian, after_TBS - states_TBS)
        return _moved(kind, jacobian, step_TBS, after_TBS)

    time = jax.tree.leaves(given[2])[0].shape[0]
    return _iterate(update, jnp.broadcast_to(first_BS, (time, *first_BS.shape)), options)


def _scanned(cell, options, unflatten, masks_TB, given, first_BS):
    """`_iterated`, with derivatives of any order taken through a scan over the steps."""
    states_TBS, report = _iterated(cell, options, unflatten, masks_TB, *jax.lax.stop_gradient((given, first_BS)))
    params, start, u_TB = given
    body = masked(functools.partial(cell.step, params), start)

    def step(carry, inputs):
        after, _ = body(carry, inputs)
        return after, after

    after_TB = jax.lax.scan(step, unflatten(first_BS), (u_TB, *masks_TB))[1]
    scanned_TBS = _joined(after_TB, states_TBS.shape)
    return states_TBS + (scanned_TBS - jax.lax.stop_gradient(scanned_TBS)), report


@custom_vjp("newton", instead="implementation='scan'", plain=_scanned, nondiff_argnums=(0, 1, 2))
def _solve(cell, options, unflatten, masks_TB, given, first_BS):
    """`_iterated`, with gradients from the adjoint recurrence."""
    return _iterated(cell, options, unflatten, masks_TB, given, first_BS)


def _forward(cell, options, unflatten, masks_TB, given, first_BS):
    states_TBS, report = _solve(cell, options, unflatten, masks_TB, given, first_BS)
    return (states_TBS, report), (masks_TB, given, first_BS, states_TBS)


def _backward(cell, options, unflatten, residuals, cotangents):
    masks_TB, given, first_BS, states_TBS = residuals
    g_TBS = cotangents[0]
    kind = options.choice(first_BS.shape[-1])
    before_TBS = _before(first_BS, states_TBS)
    _, pullback = jax.vjp(functools.partial(_transition, cell, unflatten, masks_TB), given, before_TBS)
    _, jacobian = _linearised(cell, kind, unflatten, masks_TB, given, before_TBS)
    # l_t needs J_{t+1}: shift by one step, with zero after the last.
    shifted = jnp.concatenate([jacobian[1:], jnp.zeros_like(jacobian[:1])])
    if kind == "full":
        adjoint_TBS = _linear_recurrence(kind, jnp.swapaxes(shifted, -1, -2), g_TBS, reverse=True)
    else:

        def update(adjoint_TBS):
            back_TBS = pullback(adjoint_TBS)[1]
            from_next = jnp.concatenate([back_TBS[1:], jnp.zeros_like(back_TBS[:1])])
            wanted_TBS = g_TBS + from_next
            step_TBS = _linear_recurrence(kind, shifted, wanted_TBS - adjoint_TBS, reverse=True)
            return _moved(kind, shifted, step_TBS, wanted_TBS, reverse=True)

        # The adjoint is linear in g, so scale g to 1: the tolerance then does not depend on the size of the loss.
        scale = jnp.maximum(jnp.max(jnp.abs(g_TBS)), jnp.finfo(g_TBS.dtype).tiny)
        g_TBS = g_TBS / scale
        adjoint_TBS, report = _iterate(update, g_TBS, options)
        adjoint_TBS = adjoint_TBS * scale
        jax.lax.cond(report.converged, lambda: None, lambda: jax.debug.callback(_warn, report, options.tolerance))
    dgiven, dbefore_TBS = pullback(adjoint_TBS)
    return None, dgiven, dbefore_TBS[0]


_solve.defvjp(_forward, _backward)
