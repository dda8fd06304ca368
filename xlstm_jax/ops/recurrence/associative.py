"""All steps at once by `lax.associative_scan`, for cells that are linear in their carry (`LinearCell`)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells import CellParams
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.ops.recurrence.scan import Steps, select, swapped


def linear_scan(
    a_TB: jax.Array, b_TB: jax.Array, h: jax.Array, *, fresh_TB: jax.Array | None = None, reverse: bool = False
) -> jax.Array:
    """h_t = a_t h_{t-1} + b_t for all t at once, for each feature.

    Two steps combine as (a1, b1), (a2, b2) -> (a1 a2, a2 b1 + b2): about 2T combinations, 2 log T deep (Blelloch 1990).
    The gradient is a scan of the same kind, l_t = g_t + a_{t+1} l_{t+1}, which stores only h.

    Args:
        a_TB: factors [T, B, ...], with the leading axes of b.
        b_TB: terms [T, B, ...].
        h: [B, ...] before the first step.
        fresh_TB: [T, B], true if h_t = b_t whatever came before; infinities and NaN would survive a factor of zero.
        reverse: h_t = a_t h_{t+1} + b_t instead, from the last step to the first.

    Returns:
        h_1 ... h_T, [T, B, ...].
    """
    if reverse:
        turned = (None if given is None else jnp.flip(given, 0) for given in (a_TB, b_TB, fresh_TB))
        a_TB, b_TB, fresh_TB = turned
    h_TB = _linear_scan(a_TB, b_TB, h, fresh_TB)
    return jnp.flip(h_TB, 0) if reverse else h_TB


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    return a.reshape(a.shape + (1,) * (b.ndim - a.ndim)) * b


@custom_vjp("a scan by `linear_scan`", instead="implementation='scan' (for the mLSTM implementation='recurrent')")
def _linear_scan(a_TB, b_TB, h, fresh_TB):
    from_h = _times(a_TB[0], h)
    if fresh_TB is not None:
        from_h = select(fresh_TB[0], jnp.zeros_like(from_h), from_h)

    def combine(one, two):
        (a1, b1, fresh1), (a2, b2, fresh2) = one, two
        b = _times(a2, b1) + b2
        if fresh2 is None:
            return a1 * a2, b, None
        return a1 * a2, select(fresh2, b2, b), fresh1 | fresh2

    b_TB = jnp.concatenate([b_TB[:1] + from_h[None], b_TB[1:]])
    return jax.lax.associative_scan(combine, (a_TB, b_TB, fresh_TB))[1]


def _linear_scan_forward(a_TB, b_TB, h, fresh_TB):
    h_TB = _linear_scan(a_TB, b_TB, h, fresh_TB)
    return h_TB, (a_TB, h, fresh_TB, h_TB)


def _linear_scan_backward(residuals, g_TB):
    a_TB, h, fresh_TB, h_TB = residuals
    none = jnp.zeros_like(h)
    # Step t receives the gradient of t + 1, times the factor of t + 1, unless t + 1 starts afresh.
    behind = None if fresh_TB is None else jnp.concatenate([fresh_TB[1:], jnp.zeros_like(fresh_TB[:1])])
    factors = jnp.concatenate([a_TB[1:], jnp.zeros_like(a_TB[:1])])
    l_TB = linear_scan(factors, g_TB, none, fresh_TB=behind, reverse=True)
    dproduct = l_TB if fresh_TB is None else select(fresh_TB, jnp.zeros_like(l_TB), l_TB)
    before_TB = jnp.concatenate([h[None], h_TB[:-1]])
    if fresh_TB is not None:
        before_TB = select(fresh_TB, jnp.zeros_like(before_TB), before_TB)
    da_TB = jnp.sum(dproduct * before_TB, axis=tuple(range(a_TB.ndim, l_TB.ndim)))
    return da_TB, l_TB, _times(a_TB[0], dproduct[0]), None


_linear_scan.defvjp(_linear_scan_forward, _linear_scan_backward)


def associative(
    cell: type[LinearCell], params: CellParams, steps: Steps, carry: Any, start: Any, *, reverse, noise, record
):
    """y [B, T, ...] (with `record`: (y, carries)) and the final carry."""
    del noise
    a_TB, b_TB, fresh_TB = coefficients(cell, params, steps, carry, start)
    run = functools.partial(linear_scan, fresh_TB=fresh_TB, reverse=reverse)
    carry_TB = jax.tree.map(run, a_TB, b_TB, carry)
    y_TB = cell.output(carry_TB)
    if steps.padding_TB is not None:
        y_TB = select(steps.padding_TB, jnp.zeros_like(y_TB), y_TB)
    last = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], carry_TB)
    return swapped((y_TB, carry_TB) if record else y_TB), last


def coefficients(cell: type[LinearCell], params: CellParams, steps: Steps, carry: Any, start: Any):
    """a and b of h' = a h + b, trees with leaves [T, B, ...], and `fresh_TB` of `linear_scan`."""
    u_TB = swapped(cell.project(params, steps.x_BTD))
    a_TB, b_TB = cell.coefficients(params, u_TB)
    a_TB, b_TB = jax.tree.map(lambda leaf, h: leaf.astype(h.dtype), (a_TB, b_TB), (carry, carry))
    if steps.reset_TB is not None:
        reached = jax.tree.map(lambda a, b, start: a * start[None] + b, a_TB, b_TB, start)
        b_TB = select(steps.reset_TB, reached, b_TB)
    if steps.padding_TB is not None:
        a_TB = select(steps.padding_TB, jax.tree.map(jnp.ones_like, a_TB), a_TB)
        b_TB = select(steps.padding_TB, jax.tree.map(jnp.zeros_like, b_TB), b_TB)
    fresh_TB = steps.reset_TB
    if fresh_TB is not None and steps.padding_TB is not None:
        fresh_TB = fresh_TB & ~steps.padding_TB
    return a_TB, b_TB, fresh_TB
