"""Linear autoregression, the baseline of models that predict a series."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.checks import checked


class LinearAutoregression(nnx.Module):
    """y_t = sum_l x_{t - L + 1 + l} W_l + b, over the current step and the L - 1 steps before it.

    Steps before the first one are zeros. It is called like a `SequenceModel`.

    Args:
        kernel_LDA: W, where the parameters start; see `least_squares`.
        bias_A: b.
    """

    def __init__(self, kernel_LDA: np.ndarray, bias_A: np.ndarray):
        self.kernel = nnx.Param(jnp.asarray(kernel_LDA, jnp.float32), decay=False)
        self.bias = nnx.Param(jnp.asarray(bias_A, jnp.float32))

    def init_carry(self, batch: int) -> jax.Array:
        """The inputs before the first step: zeros [B, L - 1, D]."""
        lags, width, _ = self.kernel.shape
        return jnp.zeros((batch, lags - 1, width), jnp.float32)

    def unroll(
        self, inputs: jax.Array, carry: jax.Array | None = None, *, lengths: jax.Array | None = None, key: Any = None
    ) -> tuple[jax.Array, jax.Array]:
        """Outputs [B, T, A] for inputs [B, T, D], and the last L - 1 inputs; arguments as in `SequenceModel`."""
        del key
        lags, width, _ = self.kernel.shape
        x_BTD, lengths_B = checked("LinearAutoregression", {"D": width}, x_BTD=inputs, lengths_B=lengths)
        count, time = x_BTD.shape[:2]
        before_BLD = self.init_carry(count) if carry is None else carry
        read_BSD = jnp.concatenate([before_BLD, x_BTD.astype(jnp.float32)], axis=1)
        windows_BTLD = read_BSD[:, np.arange(time)[:, None] + np.arange(lags)]
        outputs_BTA = jnp.einsum("btld,lda->bta", windows_BTLD, self.kernel[...]) + self.bias[...][None, None]
        ends_B1 = jnp.full((count, 1), time) if lengths_B is None else lengths_B[:, None]
        return outputs_BTA, jnp.take_along_axis(read_BSD, (ends_B1 + jnp.arange(lags - 1)[None])[..., None], axis=1)


def least_squares(series_NSD: np.ndarray, targets_NSA: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [L, D, A] and bias [A] of the autoregression with the smallest squared error, in float64.

    Args:
        series_NSD: N series of S steps.
        targets_NSA: what is to be predicted after each step.
        lags: L, at most S.
    """
    windows_NSDL = np.lib.stride_tricks.sliding_window_view(series_NSD.astype(np.float64), lags, axis=1)
    width = series_NSD.shape[2]
    x_RX = np.moveaxis(windows_NSDL, -1, -2).reshape(-1, lags * width)
    y_RA = targets_NSA[:, lags - 1 :].reshape(len(x_RX), -1).astype(np.float64)
    solution_XA = np.linalg.lstsq(np.column_stack([x_RX, np.ones(len(x_RX))]), y_RA, rcond=None)[0]
    return solution_XA[:-1].reshape(lags, width, -1), solution_XA[-1]
