"""cuDNN's LSTM through `jax.experimental.rnn`, on NVIDIA GPUs."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from xlstm_jax.autodiff import reverse_only
from xlstm_jax.cells import CellParams
from xlstm_jax.cells.lstm import LSTM, LSTMCarry
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence.scan import Steps, select


def cudnn(cell: type[LSTM], params: CellParams, steps: Steps, carry: LSTMCarry, start: Any, *, reverse, noise, record):
    """y [B, T, F] and the final carry, with gradients; float32 only, with lengths but no resets or recorded carries.

    Raises:
        UsageError: another cell, another dtype, resets, or a jax without CUDA.
    """
    del start, noise
    if cell is not LSTM:
        raise UsageError(f"implementation 'cudnn' covers the cell 'lstm', got {cell.__name__}")
    if record:
        raise UsageError("implementation 'cudnn' returns only the last carry; use 'chunked' or 'scan'")
    if steps.reset_TB is not None:
        raise UsageError("implementation 'cudnn' does not support resets; use 'chunked' or 'scan'")
    if steps.x_BTD.dtype != jnp.float32 or params["w_h"].dtype != jnp.float32:
        raise UsageError(
            f"implementation 'cudnn' computes in float32, got {steps.x_BTD.dtype}; use 'chunked' or 'scan'"
        )
    if not hasattr(rnn.gpu_rnn, "compute_rnn_workspace_reserve_space_sizes"):  # only with jax's CUDA plugin
        raise UsageError("implementation 'cudnn' needs jax with CUDA on an NVIDIA GPU; use 'chunked' or 'scan'")
    given = (params, steps.x_BTD, carry)
    params, x_BTD, carry = reverse_only("cuDNN's LSTM", "implementation='scan'", given, hint=False)
    batch, time = x_BTD.shape[:2]
    lengths_B = jnp.full((batch,), time, jnp.int32)
    if steps.padding_TB is not None:
        lengths_B = time - jnp.sum(steps.padding_TB, axis=0, dtype=jnp.int32)
    # cuDNN does not accept empty sequences: those run one step, whose results are discarded.
    taken_B = jnp.maximum(lengths_B, 1)
    x_BTD = _turned(x_BTD, taken_B) if reverse else x_BTD
    inputs, features = params.config.in_features, params.config.features
    y_BTF, h, c = rnn.lstm(
        x_BTD,
        carry.h[None],
        carry.c[None],
        packed(params),
        taken_B,
        inputs,
        features,
        1,
        0.0,
        False,
        precision="highest",
    )
    last = select(lengths_B > 0, LSTMCarry(c=c[0], h=h[0]), carry)
    y_BTF = _turned(y_BTF, taken_B) if reverse else y_BTF
    if steps.padding_TB is not None:
        y_BTF = select(steps.padding_TB.T, jnp.zeros_like(y_BTF), y_BTF)
    return y_BTF, last


def packed(params: CellParams) -> jax.Array:
    """The weights in cuDNN's order: W_x, W_h (gates i, f, z, o, each transposed), then its two biases."""
    b = params.get("b", jnp.zeros((4 * params.config.features,), jnp.float32))
    return jnp.concatenate([params["w_x"].T.ravel(), params["w_h"].T.ravel(), b, jnp.zeros_like(b)])


def _turned(x_BTD: jax.Array, lengths_B: jax.Array) -> jax.Array:
    """Reverses each sequence within its own length; padding stays at the end."""
    time = jnp.arange(x_BTD.shape[1], dtype=jnp.int32)[None, :]
    index_BT = jnp.where(time < lengths_B[:, None], lengths_B[:, None] - 1 - time, time)
    return jnp.take_along_axis(x_BTD, index_BT[..., None], axis=1)
