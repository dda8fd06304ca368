"""Cells linear in their carry on a sequence split over devices: h' = A h + own summarises one device's steps."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from xlstm_jax.cells import CellParams
from xlstm_jax.cells.base import LinearCell
from xlstm_jax.ops.context import Devices, over_devices
from xlstm_jax.ops.recurrence.associative import coefficients, linear_scan
from xlstm_jax.ops.recurrence.scan import Steps
from xlstm_jax.shapes import select


def over_context(
    cell: type[LinearCell], run, params: CellParams, steps: Steps, carry: Any, start: Any, *, record: bool
):
    """Calls `run(params, steps, carry, start) -> (y, carry)`, split over the mesh axis "context" if there is one.

    With `record`, y is (y, carries).
    """

    def whole(x_BTD, reset_TB, padding_TB, params, carry, start):
        return run(params, Steps(x_BTD, reset_TB, padding_TB), carry, start)

    def part(devices: Devices, x_BTD, reset_TB, padding_TB, params, carry, start):
        @jax.checkpoint  # store only the inputs for the backward pass
        def own(steps, params, start):
            return _summary(cell, params, steps, carry, start)

        steps = Steps(x_BTD, reset_TB, padding_TB)
        first = (*(jax.tree.map(jnp.zeros_like, carry), carry), jnp.ones(x_BTD.shape[:1], bool))
        _, before, _ = devices.before(_combined, own(steps, params, start), first)
        y_BT, carry = run(params, steps, before, start)
        return y_BT, devices.of(devices.count - 1, carry)

    time_major, of_carry = P("time", "batch"), jax.tree.map(lambda _: P("batch"), carry)
    specs = P("batch", "time"), time_major, time_major, jax.tree.map(lambda _: P(), params), of_carry, of_carry
    args = (steps.x_BTD, steps.reset_TB, steps.padding_TB, params, carry, start)
    of_y = P("batch", "time")
    of_outputs = (of_y, jax.tree.map(lambda _: of_y, carry)) if record else of_y
    return over_devices(cell.__name__, whole, part, args, specs, (of_outputs, of_carry))


def _summary(cell, params, steps, carry, start):
    """A, own, and `fresh` [B]: true if the steps have a reset, so that h' = own."""
    a_TB, b_TB, fresh_TB = coefficients(cell, params, steps, carry, start)

    def last(a_TB, b_TB, h):
        return linear_scan(a_TB, b_TB, h, fresh_TB=fresh_TB)[-1]

    A = jax.tree.map(lambda a, b, h: last(a, jnp.zeros_like(b), jnp.ones_like(h)), a_TB, b_TB, carry)
    own = jax.tree.map(lambda a, b, h: last(a, b, jnp.zeros_like(h)), a_TB, b_TB, carry)
    fresh = jnp.zeros(steps.x_BTD.shape[:1], bool) if fresh_TB is None else jnp.any(fresh_TB, axis=0)
    return A, own, fresh


def _combined(one, two):
    (A1, own1, fresh1), (A2, own2, fresh2) = one, two
    own = jax.tree.map(lambda A, before, own: A * before + own, A2, own1, own2)
    return jax.tree.map(jnp.multiply, A1, A2), select(fresh2, own2, own), fresh1 | fresh2
