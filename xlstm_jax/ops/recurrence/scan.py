"""The reference implementation: `lax.scan` over steps with plain autodiff."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells import Cell, CellParams
from xlstm_jax.shapes import is_known, select, state_dtype
from xlstm_jax.sharding import varying

# Steps unrolled inside the scan: fewer iterations, and XLA fuses across steps. 16 was slower on CPU.
UNROLL = 5


class Steps(NamedTuple):
    """The inputs of a sequence's steps, without the weights. x is batch-major, the rest is time-major."""

    x_BTD: jax.Array
    reset_TB: jax.Array | None = None  # true: the carry becomes the start value before that step
    padding_TB: jax.Array | None = None  # true: the step leaves the carry unchanged and outputs zero
    noise_TB: Any = None  # masks of `dropout.Noise`, a tree with leaves [T, B, ...]

    def between(self, first: int, last: int) -> "Steps":
        """Steps first ... last - 1."""
        rest = jax.tree.map(lambda leaf: leaf[first:last], self[1:])
        return Steps(self.x_BTD[:, first:last], *rest)


def in_pieces(run: Callable, length: int, steps: Steps, carry: Any, *, reverse: bool) -> tuple[Any, Any]:
    """Applies `run(carry, steps) -> (carry, y)`, y time-major, to pieces of `length` steps and the remainder.

    Returns y [T, B, ...] (a tree if that of `run` is) and the final carry. `reverse` starts with the last piece.
    """
    time = steps.x_BTD.shape[1]
    if not is_known(time):  # a symbol of `jax.export`: one piece
        carry, y_TB = run(carry, steps)
        return y_TB, carry
    whole = time // length * length

    def body(carry, inputs):
        first, rest = inputs
        return run(carry, Steps(jax.lax.dynamic_slice_in_dim(steps.x_BTD, first, length, axis=1), *rest))

    def pieces(carry):
        if not whole:
            return carry, None
        rest = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, length, *leaf.shape[1:]), steps[1:])
        firsts = jnp.arange(0, whole, length, dtype=jnp.int32)
        carry, y_NLB = jax.lax.scan(body, carry, (firsts, rest), reverse=reverse)
        return carry, jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), y_NLB)

    def remainder(carry):
        return (carry, None) if whole == time else run(carry, steps.between(whole, time))

    if reverse:
        carry, behind = remainder(carry)
        carry, ahead = pieces(carry)
    else:
        carry, ahead = pieces(carry)
        carry, behind = remainder(carry)
    parts = [part for part in (ahead, behind) if part is not None]
    return jax.tree.map(lambda *leaves: leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves), *parts), carry


def masked(step: Callable, start: Any, *, record: bool = False) -> Callable:
    """Adds resets and padding to `step(carry, u) -> (carry, y)`: body(carry, (u, reset_B, padding_B)) -> (carry, y).

    With `record`, the outputs are (y, carry).
    """

    def body(carry, inputs):
        u, reset_B, padding_B = inputs
        before = carry
        if reset_B is not None:
            carry = select(reset_B, start, carry)
        carry, y = step(carry, u)
        if padding_B is not None:
            carry = select(padding_B, before, carry)
            y = select(padding_B, jax.tree.map(jnp.zeros_like, y), y)
        return carry, (y, carry) if record else y

    return body


class Order(NamedTuple):
    """Options of `masked_scan`."""

    reverse: bool
    record: bool


def masked_scan(step, carry, start, u_TB, *, reset_TB=None, padding_TB=None, reverse=False, record=False):
    """`lax.scan` of `step(carry, u_t) -> (carry, y)` over time-major inputs, with resets and padding.

    Args:
        carry: leaves [B, ...], the state before the first step that runs.
        start: the state after a reset; leaves [B, ...].
        u_TB: leaves [T, B, ...].
        reset_TB: true if the carry becomes `start` before that step.
        padding_TB: true if a step leaves the carry unchanged and outputs zero.
        reverse: from the last step to the first. With right padding, each sequence then starts at its own end.
        record: the outputs are (y, carry), with the carry after each step.

    Returns:
        The final carry, and the outputs [T, B, ...], a tree if the step's are.
    """
    time = jax.tree.leaves(u_TB)[0].shape[0]
    inputs = (u_TB, reset_TB, padding_TB)
    carry = varying(carry, start, inputs)
    unroll = min(UNROLL, time) if is_known(time) else 1
    return jax.lax.scan(masked(step, start, record=record), carry, inputs, reverse=reverse, unroll=unroll)


def swapped(tree: Any) -> Any:
    """Swaps the first two axes of each leaf: [T, B, ...] <-> [B, T, ...]."""
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), tree)


def scan(cell: type[Cell], params: CellParams, steps: Steps, carry: Any, start: Any, *, reverse, noise, record):
    """y [B, T, ...] (with `record`: (y, carries)) and the final carry."""
    # Cast to the state's dtype outside the loop, so that gradients of narrower weights accumulate in it.
    wide = params.astype(state_dtype(steps.x_BTD))

    def step(carry, inputs):
        (u, mask), params = inputs, wide.astype(steps.x_BTD.dtype)
        return cell.step(params, carry, u) if noise is None else noise.step(cell, params, carry, u, mask)

    u_TB = swapped(cell.project(params, steps.x_BTD))
    carry, y_TB = masked_scan(
        step,
        carry,
        start,
        (u_TB, steps.noise_TB),
        reset_TB=steps.reset_TB,
        padding_TB=steps.padding_TB,
        reverse=reverse,
        record=record,
    )
    return swapped(y_TB), carry
