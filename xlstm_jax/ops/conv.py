"""Causal depthwise convolution over time, with a carry to continue a sequence in the next call."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from xlstm_jax.checks import check_sizes, checked, checked_carry, is_empty
from xlstm_jax.ops.context import Devices, over_devices
from xlstm_jax.shapes import steps_within, zero_padding


def causal_conv(
    x_BTD: jax.Array,
    kernel_WD: jax.Array,
    bias_D: jax.Array,
    *,
    carry_BWD: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """y_t = bias + sum_w kernel_w x_{t - (W-1) + w} for each feature; inputs before the start come from the carry.

    If the mesh axis "context" splits time, each device gets the inputs before its steps from its left neighbour.

    Args:
        x_BTD: inputs.
        kernel_WD: W taps per feature, the last one for the current step.
        bias_D: one bias per feature.
        carry_BWD: the W - 1 inputs before x, [B, W-1, D]; None is zeros.
        reset_BT: true at steps from which on nothing earlier is seen.
        lengths_B: lengths under right padding. The returned carry ends at each sequence's own last step. Lengths above
            T count as T, negative ones as 0.

    Returns:
        y [B, T, D], and the last W - 1 inputs [B, W-1, D].

    Raises:
        UsageError: the number of devices along the mesh axis "context" does not divide T.
    """
    arrays = {"x_BTD": x_BTD, "kernel_WD": kernel_WD, "bias_D": bias_D, "reset_BT": reset_BT, "lengths_B": lengths_B}
    x_BTD, kernel_WD, bias_D, reset_BT, lengths_B = checked("causal_conv", **arrays)
    check_sizes("causal_conv", width=kernel_WD.shape[0])
    (batch, _, features), width = x_BTD.shape, kernel_WD.shape[0]
    start = jnp.zeros((batch, width - 1, features), x_BTD.dtype)
    carry_BWD = start if carry_BWD is None else checked_carry("causal_conv", carry_BWD, start)
    if is_empty(x_BTD):
        return x_BTD, carry_BWD
    x_BTD = zero_padding(x_BTD, lengths_B)
    args = (x_BTD, kernel_WD, bias_D, carry_BWD, reset_BT, lengths_B)
    x_spec, carry_spec = P("batch", "time", "heads"), P("batch", None, "heads")
    specs = (x_spec, P(None, "heads"), P("heads"), carry_spec, P("batch", "time"), P("batch"))
    return over_devices("causal_conv", _conv, _part, args, specs, (x_spec, carry_spec))


def _conv(x_BTD, kernel_WD, bias_D, carry_BWD, reset_BT, lengths_B):
    time, width = x_BTD.shape[1], kernel_WD.shape[0]
    padded, segment = _with_carry(x_BTD, carry_BWD, reset_BT)
    y = jnp.broadcast_to(bias_D.astype(x_BTD.dtype), x_BTD.shape)
    # Shifted multiply-adds: XLA's grouped convolution is 1.4 times slower on CPU.
    for tap in range(width):
        shifted = padded[:, tap : tap + time]
        if segment is not None:
            same = segment[:, tap : tap + time] == segment[:, width - 1 :]
            shifted = jnp.where(same[..., None], shifted, jnp.zeros_like(shifted))
        y = y + shifted * kernel_WD[None, None, tap].astype(x_BTD.dtype)
    return y, _last_inputs(padded, segment, lengths_B, width)


def _part(devices: Devices, x_BTD, kernel_WD, bias_D, carry_BWD, reset_BT, lengths_B):
    """y for this device's steps, and the last W - 1 inputs of the whole sequence."""
    (batch, time, _), width = x_BTD.shape, kernel_WD.shape[0]
    holder = jnp.full((batch,), devices.count - 1)
    if lengths_B is not None:
        lengths_B = steps_within(lengths_B, devices.count * time)
        holder = jnp.maximum(lengths_B - 1, 0) // time
        lengths_B = steps_within(lengths_B - devices.index * time, time)
    before = carry_BWD
    # One round, unless the kernel reaches back further than one device's steps.
    for _ in range(min(-(-(width - 1) // time), devices.count - 1)):
        last = _last_inputs(*_with_carry(x_BTD, before, reset_BT), lengths_B, width)
        before = devices.from_left(last, carry_BWD)
    y, last = _conv(x_BTD, kernel_WD, bias_D, before, reset_BT, lengths_B)
    return y, devices.of(holder, last)


def _with_carry(x_BTD, carry_BWD, reset_BT):
    """The carry's inputs followed by x, and the number of resets up to each; None in place of it without resets."""
    segment = None
    if reset_BT is not None:
        segment = jnp.pad(jnp.cumsum(reset_BT, axis=1, dtype=jnp.int32), ((0, 0), (carry_BWD.shape[1], 0)))
    return jnp.concatenate([carry_BWD, x_BTD], axis=1), segment


def _last_inputs(padded, segment, lengths_B, width):
    """The W - 1 inputs that end at each sequence's length, with zeros for inputs before its last reset."""
    taken = width - 1
    time = padded.shape[1] - taken
    lengths_B = jnp.full(padded.shape[:1], time, jnp.int32) if lengths_B is None else steps_within(lengths_B, time)
    index = lengths_B[:, None] + jnp.arange(taken, dtype=jnp.int32)[None, :]
    last = jnp.take_along_axis(padded, index[..., None], axis=1)
    if segment is not None:
        end = jnp.take_along_axis(segment, lengths_B[:, None] + taken - 1, axis=1)
        same = jnp.take_along_axis(segment, index, axis=1) == end
        last = jnp.where(same[..., None], last, jnp.zeros_like(last))
    return last
