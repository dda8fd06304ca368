"""A batch's gradients from parts of its rows, read one after another: the memory of one part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError


def check_parts(batch_size: int, parts: int) -> None:
    """Raise `UsageError` where a batch cannot be cut into so many equal parts."""
    if batch_size % parts:
        raise UsageError(
            f"data.batch_size {batch_size} is not divisible by train.accumulate {parts}; "
            f"use {max(batch_size // parts, 1) * parts} rows or another multiple"
        )


def accumulated(
    gradients: Callable, weight: Callable, parts: int, params: Any, batch: Any, carry: Any, key: jax.Array
) -> tuple[tuple[jax.Array, Any], Any]:
    """((loss, carry after), gradients) of a whole batch: sum_p w_p g_p / sum_p w_p over parts p, and so the loss.

    With a loss that is a mean over targets and w_p the number of part p's, that is the gradient of the mean over all
    targets, however they are spread. Row r is in part r mod `parts`, so that where a mesh shares out the rows, each
    device finds its share of every part among its own.

    Args:
        gradients: (params, batch, carry, key) -> ((loss, carry after), gradients), as `jax.value_and_grad` makes it.
        weight: of a batch, float32; the sum may be 0, where every part's loss is 0.
        parts: divides the batch's rows; 1 is `gradients` of all of it.
        batch, carry: trees of arrays [B, ...]; the carry may be None.
        key: of all random draws, which differ by part.
    """
    if parts == 1:
        return gradients(params, batch, carry, key)
    rows = jax.tree.map(lambda leaf: _apart(leaf, parts), (batch, carry))
    total = jnp.maximum(weight(batch), 1)

    def read(sums, part):
        (batch, carry), number = part
        (loss, carry), grads = gradients(params, batch, carry, jax.random.fold_in(key, number))
        share = weight(batch) / total
        return jax.tree.map(lambda a, b: a + share.astype(b.dtype) * b, sums, (loss, grads)), carry

    start = jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, params)
    (loss, grads), carry = jax.lax.scan(read, start, (rows, jnp.arange(parts)))
    return (loss, jax.tree.map(_together, carry)), grads


def _apart(leaf: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...]."""
    return jnp.swapaxes(jnp.reshape(leaf, (-1, parts, *leaf.shape[1:])), 0, 1)


def _together(leaf: jax.Array) -> jax.Array:
    """Back from `_apart`."""
    return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])
