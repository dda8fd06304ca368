"""Jacobians of each step of a recurrence with respect to its carry, for Newton's method over time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.cells.base import SplitCell, output_field
from xlstm_jax.ops.recurrence.scan import select
from xlstm_jax.sharding import varying

# Columns computed at once.
COLUMNS = 8


def by_columns(linear: Callable, like_TBS: jax.Array, *, diagonal: bool) -> jax.Array:
    """The Jacobian of f from its linear part `linear`: [T, B, S, S] with rows by output, or its diagonal [T, B, S]."""
    eye = varying(jnp.eye(like_TBS.shape[-1], dtype=like_TBS.dtype), like_TBS)

    def column(unit_S):
        image_TBS = linear(jnp.broadcast_to(unit_S, like_TBS.shape))
        return jnp.sum(image_TBS * jnp.broadcast_to(unit_S, image_TBS.shape), axis=-1) if diagonal else image_TBS

    return jnp.moveaxis(jax.lax.map(column, eye, batch_size=COLUMNS), 0, -1)


def own_diagonal(cell: type[SplitCell], params: CellParams, start: Any, carries_TB: Any, inputs_TB: Any) -> Any:
    """The Jacobian's diagonal for a cell with an elementwise update: a tree like the carry, leaves [T, B, ...].

    A diagonal entry depends only on the weight with which a feature feeds back into itself. So one derivative along all
    features at once yields the whole diagonal: one derivative per leaf of the carry, instead of one per feature.
    """
    own_G = cell.self_weights(params)

    def step(carry, inputs):
        u, reset_B, padding_B = inputs
        if reset_B is not None:
            carry = select(reset_B, start, carry)
        v = cell.recur(params, cell.feedback(carry))

        def update(carry, v):
            return cell.update(params.only(cell.inner), carry, u, v)[0]

        def along(name):
            tangent = jax.tree.map(jnp.zeros_like, carry)
            tangent = tangent._replace(**{name: jnp.ones_like(getattr(carry, name))})
            dv = jnp.broadcast_to(own_G.astype(v.dtype), v.shape) if name == output_field(carry) else jnp.zeros_like(v)
            return getattr(jax.jvp(update, (carry, v), (tangent, dv))[1], name)

        diagonal = type(carry)(*map(along, carry._fields))
        if reset_B is not None:
            diagonal = select(reset_B, jax.tree.map(jnp.zeros_like, diagonal), diagonal)
        if padding_B is not None:
            diagonal = select(padding_B, jax.tree.map(jnp.ones_like, diagonal), diagonal)
        return diagonal

    return jax.vmap(step)(carries_TB, inputs_TB)


def has_own_diagonal(cell: type[Cell], params: CellParams) -> bool:
    """Whether `own_diagonal` covers the cell with these options."""
    return issubclass(cell, SplitCell) and cell.self_weights(params) is not None
