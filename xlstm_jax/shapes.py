"""Axis letters and padding masks. A name's suffix spells its axes: `q_BTHK` is [batch, time, heads, key features].

    B  batch            T  time                 D  model features (sLSTM: features per head)
    H  heads            K  query/key features per head          V  value features per head
    N  chunks           L  chunk length         G  gates (i, f, z, o)
    F  feed-forward or layer features           W  taps of a convolution
    A  vocabulary (alphabet)                    S  steps of a memory that is attended to, or all features of a carry
    X, Y, Z  spatial axes of maps               N  also nodes of a forest, with C places for children

Layout is batch, time, heads, features, as in `jax.nn.dot_product_attention`; `_TB...` marks time-major arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

Resets = Bool[Array, "B T"]
Lengths = Int[Array, " B"]


def state_dtype(*arrays: jax.Array | jnp.dtype) -> jnp.dtype:
    """Dtype of gates, stabilisers and states: the arrays' dtype, at least float32 (float64 stays float64)."""
    with jax.numpy_dtype_promotion("standard"):  # strict mode forbids accidental promotion; this one is intended
        return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def steps_within(lengths_B: Lengths, time: int) -> Lengths:
    """Lengths clipped to 0 ... `time`, int32: lengths above `time` count as `time`, negative ones as 0."""
    return jnp.clip(lengths_B.astype(jnp.int32), 0, time)


def is_known(size: Any) -> bool:
    """Whether a size is a number, as opposed to a symbol of `jax.export`."""
    return isinstance(size, int)


def padding_mask(lengths_B: Lengths, time: int) -> Resets:
    """[B, T], true for steps after their sequence's end: t >= length."""
    return jnp.arange(time, dtype=jnp.int32)[None, :] >= lengths_B.astype(jnp.int32)[:, None]


def padding(lengths_B: Lengths | None, mask_BT: Resets | None, shape_BT: tuple[int, int]) -> Resets | None:
    """[B, T], true for padding: steps after a sequence's end, or where the mask is false. None without padding."""
    after_BT = None if lengths_B is None else padding_mask(lengths_B, shape_BT[1])
    if mask_BT is None:
        return after_BT
    return ~mask_BT if after_BT is None else after_BT | ~mask_BT


def zero_padding(x_BT: jax.Array, lengths_B: Lengths | None) -> jax.Array:
    """x [B, T, ...] with zeros after each sequence's end; neither values there, NaN included, nor gradients pass."""
    return zero_where(None if lengths_B is None else padding_mask(lengths_B, x_BT.shape[1]), x_BT)


def zero_where(padding_BT: Resets | None, x_BT: jax.Array) -> jax.Array:
    """x [B, T, ...] with zeros at padded steps, like `zero_padding`."""
    return x_BT if padding_BT is None else select(padding_BT, jnp.zeros_like(x_BT), x_BT)


def steps_after_reset(
    reset_BT: Resets, padding_BT: Resets | None = None, *, holes: bool = False, reverse: bool = False
) -> Resets:
    """[B, T], true for each step before which the carry is reset, in the order in which steps run.

    A reset at t separates t from t - 1: forward it acts before step t, in reverse before step t - 1. So each part
    between resets has the outputs it has on its own, in both directions. In reverse, step 0 is the last one, and a
    reset there does nothing.

    Args:
        reset_BT: true at the first step of each part.
        padding_BT: true for padded steps.
        holes: padding may be anywhere. A reset on padding acts before the next real step, and does nothing after the
            last one. If false, padding is on the right, where resets do nothing.
        reverse: steps run from the last to the first.
    """
    if holes:
        reset_BT = _at_next_step(reset_BT, padding_BT)
    elif padding_BT is not None and reverse:
        reset_BT = reset_BT & ~padding_BT
    if not reverse:
        return reset_BT
    before_BT = jnp.concatenate([reset_BT[:, 1:], jnp.zeros_like(reset_BT[:, :1])], axis=1)
    if not holes:
        return before_BT
    return jnp.flip(_at_next_step(jnp.flip(before_BT, 1), jnp.flip(padding_BT, 1)), 1)


def _at_next_step(reset_BT: Resets, padding_BT: Resets) -> Resets:
    """Moves resets on padding to the next real step: true if a reset came since the previous real step."""
    count_BT = jax.lax.cumsum(reset_BT.astype(jnp.int32), axis=1)
    seen_BT = jax.lax.cummax(jnp.where(padding_BT, 0, count_BT), axis=1)
    before_BT = jnp.concatenate([jnp.zeros_like(seen_BT[:, :1]), seen_BT[:, :-1]], axis=1)
    return ~padding_BT & (count_BT > before_BT)


def select(flag: jax.Array, new: Any, old: Any) -> Any:
    """`new` where flag [B] is true, else `old`, for each leaf [B, ...]; the flag's axes are the leaf's leading ones."""

    def choose(a, b):
        return jnp.where(flag.reshape(flag.shape + (1,) * (b.ndim - flag.ndim)), a, b)

    return jax.tree.map(choose, new, old)
