"""Loss and gradients of a batch, or of its parts one after another, in the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import Ratio, mean


def check_parts(batch_size: int, parts: int) -> None:
    """Raises `UsageError` if a batch cannot be cut into that many equal parts."""
    if batch_size % parts:
        raise UsageError(
            f"data.batch_size {batch_size} is not divisible by train.accumulate {parts}; "
            f"use {max(batch_size // parts, 1) * parts} rows or another multiple"
        )


def accumulated(
    forward: Callable[[Any, Any, Any, jax.Array], tuple[Ratio, Any]],
    parts: int,
    params: Any,
    batch_and_axes: tuple[Any, Any],
    carry: Any,
    key: jax.Array,
) -> tuple[tuple[jax.Array, Any], Any]:
    """((loss, carry after), gradients) of a whole batch: sum_p total_p / sum_p count_p over parts p, and its gradient.

    That is the mean over all targets, however they are spread over the parts. Row r is in part r mod `parts`, so that
    where a mesh shares out the rows, each device finds its share of every part among its own.

    Args:
        forward: (params, batch, carry, key) -> (loss as a ratio, carry after). The count does not depend on params, and
            may be 0 where the total is.
        parts: divides the batch's rows.
        batch_and_axes: a tree of arrays, and the logical axes of each; those without a first axis "batch" are given to
            every part.
        carry: a tree of arrays [B, ...], or None.
        key: of all random draws, which differ between parts.
    """
    batch, axes = batch_and_axes

    def loss(params, batch, carry, key):
        ratio, carry = forward(params, batch, carry, key)
        return mean(ratio), (ratio.count, carry)

    gradients = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, (_, carry)), grads = gradients(params, batch, carry, key)
        return (value, carry), grads
    leaves, form = jax.tree.flatten(batch)
    rowwise = [bool(names) and names[0] == "batch" for names in form.flatten_up_to(axes)]
    cut = [_apart(leaf, parts) for leaf, row in zip(leaves, rowwise, strict=True) if row]

    def read(sums, part):
        (own, carry), number = part
        own = iter(own)
        here = form.unflatten(next(own) if row else leaf for leaf, row in zip(leaves, rowwise, strict=True))
        (value, (count, carry)), grads = gradients(params, here, carry, jax.random.fold_in(key, number))
        # Weighed here and not by the loss's total: a running average's gradient is no derivative of the loss.
        weighed = jax.tree.map(lambda leaf: leaf * count.astype(leaf.dtype), (value, grads))
        return jax.tree.map(jnp.add, sums, (*weighed, count)), carry

    like = jax.eval_shape(lambda *args: forward(params, *args)[0], batch, carry, key)
    start = jnp.zeros_like(like.total), jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(like.count)
    rows = cut, jax.tree.map(lambda leaf: _apart(leaf, parts), carry)
    (value, grads, count), carry = jax.lax.scan(read, start, (rows, jnp.arange(parts)))
    value, grads = jax.tree.map(lambda leaf: leaf / jnp.maximum(count, 1).astype(leaf.dtype), (value, grads))
    return (value, jax.tree.map(_together, carry)), grads


def _apart(leaf: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...]."""
    return jnp.swapaxes(jnp.reshape(leaf, (-1, parts, *leaf.shape[1:])), 0, 1)


def _together(leaf: jax.Array) -> jax.Array:
    """Back from `_apart`."""
    return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])
