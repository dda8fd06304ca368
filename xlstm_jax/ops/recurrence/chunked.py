"""A scan over chunks of steps, for cells whose recurrent products are separate functions (`SplitCell`).

Projections are computed per chunk, in cache, instead of for all T at once in new memory. Weight gradients are computed
per chunk too: one large product instead of a small one per step, which dominates the backward pass on CPU. Values and
gradients equal those of the plain scan up to rounding.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells import CellParams
from xlstm_jax.cells.base import SplitCell
from xlstm_jax.ops.recurrence.scan import Order, Steps, in_pieces, masked_scan, swapped
from xlstm_jax.shapes import state_dtype
from xlstm_jax.sharding import varying

# Steps per chunk, all unrolled: 5 was fastest on CPU at 64 x 256. 4 is used if it divides T and 5 does not.
CHUNK = 5


def chunk_length(time: int) -> int:
    """Steps per chunk for a sequence of `time` steps."""
    return CHUNK - 1 if time % CHUNK and not time % (CHUNK - 1) else CHUNK


def chunked(cell: type[SplitCell], params: CellParams, steps: Steps, carry: Any, start: Any, *, reverse, noise, record):
    """y [B, T, ...] (with `record`: (y, carries)) and the final carry."""
    # Cast to the state's dtype outside the loop, so that gradients of narrower weights accumulate in it.
    params = params.astype(state_dtype(steps.x_BTD))

    def run(carry, steps):
        return _chunk(cell, noise, Order(reverse, record), params, start, carry, steps)

    y_TB, carry = in_pieces(run, chunk_length(steps.x_BTD.shape[1]), steps, carry, reverse=reverse)
    return swapped(y_TB), carry


@jax.custom_vjp
def _tap(v, e):
    """Returns v; its cotangent also goes to e."""
    return v


_tap.defvjp(lambda v, e: (v, None), lambda _, dv: (dv, dv))


def _steps_of_chunk(cell, noise, order, params, inner, start, carry, u_LB, e_LB, steps):
    """(carry, y_LB), and the feedback h_LB of each step. The cotangent of e_LB is that of the recurrent products.

    With `order.record`, y_LB is (y_LB, carries).
    """

    def step(carry, inputs):
        u, e, mask = inputs
        h = cell.feedback(carry)
        h = h if noise is None else noise.thin(h, mask)
        v = cell.recur(params, h)
        carry, y = cell.update(inner, carry, u, v if e is None else jax.tree.map(_tap, v, e))
        return carry, (y, h)

    u_LB = (u_LB, e_LB, steps.noise_TB)
    carry, out_LB = masked_scan(
        step, carry, start, u_LB, reset_TB=steps.reset_TB, padding_TB=steps.padding_TB, **order._asdict()
    )
    (y_LB, h_LB), *carries = out_LB if order.record else (out_LB,)
    return (carry, (y_LB, *carries) if carries else y_LB), h_LB


@custom_vjp("the chunked scan", instead="implementation='scan'", nondiff_argnums=(0, 1, 2))
def _chunk(cell, noise, order, params, start, carry, steps):
    """(carry, y_LB) of one chunk of steps."""
    params = params.astype(steps.x_BTD.dtype)
    u_LB = cell.project(params, jnp.swapaxes(steps.x_BTD, 0, 1))
    return _steps_of_chunk(cell, noise, order, params, params.only(cell.inner), start, carry, u_LB, None, steps)[0]


def _forward(cell, noise, order, params, start, carry, steps):
    def run(inner, start, carry, e_LB, u_LB):
        return _steps_of_chunk(cell, noise, order, params, inner, start, carry, u_LB, e_LB, steps)

    params = params.astype(steps.x_BTD.dtype)
    u_LB = cell.project(params, jnp.swapaxes(steps.x_BTD, 0, 1))
    if cell.additive:
        run = functools.partial(run, u_LB=u_LB)
    v = jax.eval_shape(lambda: cell.recur(params, cell.feedback(carry)))
    e_LB = jax.tree.map(lambda leaf: jnp.zeros((steps.x_BTD.shape[1], *leaf.shape), leaf.dtype), v)
    e_LB = varying(e_LB, carry)
    outputs, pullback, h_LB = jax.vjp(
        run, params.only(cell.inner), start, carry, e_LB, *(() if cell.additive else (u_LB,)), has_aux=True
    )
    return outputs, (pullback, params, steps.x_BTD, h_LB)


def _backward(cell, noise, order, residuals, cotangents):
    del noise, order
    pullback, params, x_BLD, h_LB = residuals
    dinner, dstart, dcarry, dv_LB, *rest = pullback(cotangents)
    du_LB = jax.tree.map(lambda leaf: leaf.astype(x_BLD.dtype), dv_LB) if cell.additive else rest[0]

    def products(params, x_BLD):
        return cell.project(params, jnp.swapaxes(x_BLD, 0, 1)), cell.recur(params, h_LB)

    _, pullback = jax.vjp(products, params, x_BLD)
    dparams, dx_BLD = pullback((du_LB, dv_LB))
    weights = {name: dw + dinner[name] if name in dinner else dw for name, dw in dparams.items()}
    wide = CellParams(params.config, weights).astype(state_dtype(x_BLD))
    return wide, dstart, dcarry, Steps(dx_BLD)


_chunk.defvjp(_forward, _backward)
