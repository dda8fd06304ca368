"""Run any cell over time with `lax.scan`."""

from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.shapes import padding_mask, state_dtype

# Steps unrolled inside the scan: fewer loop turns, and XLA fuses across them; 16 was slower on CPU.
UNROLL = 5


def select(flag: jax.Array, new: Any, old: Any) -> Any:
    """Where flag [B] is true take `new`, else `old`, leaf by leaf [B, ...]; the flag's axes are a leaf's first ones."""

    def choose(a, b):
        return jnp.where(flag.reshape(flag.shape + (1,) * (b.ndim - flag.ndim)), a, b)

    return jax.tree.map(choose, new, old)


def masked_scan(step, carry, start, u_TB, *, reset_TB=None, padding_TB=None, reverse=False):
    """`lax.scan` of `step(carry, u_t) -> (carry, y)` over time-major inputs, with resets and padding.

    Args:
        carry: leaves [B, ...], the state before the first step that is taken.
        start: what a reset returns to; leaves [B, ...].
        u_TB: leaves [T, B, ...].
        reset_TB: true where the carry becomes `start` before that step is taken.
        padding_TB: true where a step leaves the carry as it is and gives zero output.
        reverse: from the last step to the first; with right padding each sequence then starts at its own end.

    Returns:
        The final carry, and the outputs [T, B, ...].
    """
    time = jax.tree.leaves(u_TB)[0].shape[0]

    def body(carry, inputs):
        u, reset_B, padding_B = inputs
        before = carry
        if reset_B is not None:
            carry = select(reset_B, start, carry)
        carry, y = step(carry, u)
        if padding_B is not None:
            carry = select(padding_B, before, carry)
            y = select(padding_B, jnp.zeros_like(y), y)
        return carry, y

    return jax.lax.scan(body, carry, (u_TB, reset_TB, padding_TB), reverse=reverse, unroll=min(UNROLL, time))


def recurrence(
    cell: type[Cell],
    params: CellParams,
    x_BTD: jax.Array,
    *,
    carry: Any = None,
    lengths_B: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    reverse: bool = False,
) -> tuple[jax.Array, Any]:
    """Outputs [B, T, ...] and final carry of `cell` over x [B, T, ...]: y_t from step(params, carry, project(x)_t).

    Args:
        cell: an entry of `CELLS`.
        params: its weights, from `cell.init`.
        x_BTD: inputs, in the weights' dtype: that of the products, and of y. The carry is at least float32.
        carry: the state to start from; None is `cell.init_carry`, to which a reset returns too.
        lengths_B: [B] ints, right padding: padded steps leave the carry as it is and give zero output.
        reset_BT: [B, T] bools, true where the carry becomes the start value before that step is taken.
        reverse: run from each sequence's end to its start.
    """
    u = cell.project(params, x_BTD)
    dtype = state_dtype(*jax.tree.leaves(u))
    start = jax.tree.map(lambda leaf: leaf.astype(dtype), cell.init_carry(params.config, x_BTD.shape[:1]))
    u_TB = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), u)
    carry, y_TB = masked_scan(
        lambda carry, u: cell.step(params, carry, u),
        start if carry is None else carry,
        start,
        u_TB,
        reset_TB=None if reset_BT is None else reset_BT.T,
        padding_TB=None if lengths_B is None else padding_mask(lengths_B, x_BTD.shape[1]).T,
        reverse=reverse,
    )
    return jnp.swapaxes(y_TB, 0, 1).astype(x_BTD.dtype), carry
