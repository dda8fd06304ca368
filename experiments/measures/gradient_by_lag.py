"""How much gradient flows back over a lag: d(output at T) / d(input at t), before and after training.

Its decay explains why long lags are hard to learn (Bengio, Simard & Frasconi 1994; Hochreiter & Schmidhuber 1997), and
its growth why gradients explode (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sweeping.measured import MEASURES, Curve, Measured
from xlstm_jax.errors import UsageError
from xlstm_jax.models.repeated import run_blocks
from xlstm_jax.train.build import Parts
from xlstm_jax.train.step import init_state

BATCHES, ROWS, DIRECTIONS = 2, 32, 16  # batches of validation, rows per batch, directions per output


@MEASURES.register("gradient_by_lag")
def gradient_by_lag(parts: Parts, params: Any) -> Measured:
    """Root mean square over rows of ||d y_T / d x_t||_F against T - t, for the initial parameters and for `params`.

    y_T [D] is the output of the last block, before the final norm and the head, at the last step of a row that counts
    in the loss. x_t [D] is the embedded input of step t. The derivative includes all blocks and all paths between the
    two. It is exact; its norm is estimated from `DIRECTIONS` of the D directions of y_T (see `gradient_norms`). Norms
    below 1e-38, the smallest number of float32, are 0.
    """
    batches = parts.task.batches("validation", rows=slice(0, ROWS))
    batches = [*itertools.islice(batches, BATCHES)]
    if not hasattr(batches[0], "mask_BT"):
        raise UsageError("gradient_by_lag needs a task with targets at steps; this one has a target for each row")
    directions_KD = random_directions(jax.random.key(parts.sections.seed), parts.sections.model.features, DIRECTIONS)

    @jax.jit
    def norms(params, inputs_BT, last_B, reset_BT):
        model = parts.model(params)
        depth = len(model.config.layers)

        def blocks(x_BTD):
            return run_blocks(model.blocks, x_BTD, (None,) * depth, (None,) * depth, reset=reset_BT)[0]

        return gradient_norms(blocks, model.embedding(inputs_BT), last_B, directions_KD)

    curves = []
    for name, weights in (("before training", init_state(parts).params), ("after training", params)):
        measured = []
        for batch in batches:
            last_B = last_scored(batch.mask_BT)
            norms_KBT = norms(weights, batch[0], last_B, getattr(batch, "reset_BT", None))
            measured.append((np.asarray(norms_KBT, np.float64), last_B))
        by_lag = by_lags(measured)
        curves.append(Curve(name, [*range(len(by_lag))], by_lag.tolist()))
    return Measured("lag T - t, steps", "norm of d(output at T) / d(input at t)", curves, log=("y",))


def random_directions(key: jax.Array, features: int, count: int) -> jax.Array:
    """Returns [K, D]: K = min(count, D) orthogonal directions, uniformly distributed, each of length sqrt(D / K).

    For any a, the expected sum of (v . a)^2 over them is |a|^2. If K = D, the sum equals |a|^2.
    """
    count = min(count, features)
    orthonormal_DK, _ = jnp.linalg.qr(jax.random.normal(key, (features, count)))
    return orthonormal_DK.T * math.sqrt(features / count)


def gradient_norms(
    stack: Callable[[jax.Array], jax.Array], x_BTD: jax.Array, last_B: jax.Array, directions_KD: jax.Array
) -> jax.Array:
    """Computes |v^T d y_T / d x_t| [K, B, T] for each direction v, where y = stack(x) [B, T, D] and T is last_B.

    One backward pass per direction computes it for every t. The sum of squares over `random_directions` is an unbiased
    estimate of the Jacobian's squared Frobenius norm.

    Args:
        stack: a function whose rows in the batch do not affect each other.
        x_BTD: where to take the derivative.
        last_B: ints less than T.
        directions_KD: from `random_directions`.
    """

    def last(x_BTD):
        return jnp.take_along_axis(stack(x_BTD), last_B[:, None, None], axis=1)[:, 0]

    y_BD, pullback = jax.vjp(last, x_BTD)

    def norms_BT(v_D):
        (gradient_BTD,) = pullback(jnp.broadcast_to(v_D.astype(y_BD.dtype), y_BD.shape))
        # Squares of small numbers underflow in float32, so divide by the largest first.
        largest_BT = jnp.max(jnp.abs(gradient_BTD), axis=-1, keepdims=True)
        scaled_BTD = gradient_BTD / jnp.where(largest_BT > 0, largest_BT, 1)
        return largest_BT[..., 0] * jnp.linalg.norm(scaled_BTD, axis=-1)

    return jax.lax.map(norms_BT, directions_KD)


def last_scored(mask_BT: np.ndarray) -> np.ndarray:
    """The last step of each row whose target counts in the loss; the last step if none does."""
    steps = mask_BT.shape[1]
    return np.where(mask_BT.any(axis=1), steps - 1 - np.argmax(mask_BT[:, ::-1], axis=1), steps - 1)


def by_lags(measured: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Root mean square over rows for each lag from 0, from `gradient_norms` [K, B, T] and `last_B` of each batch."""
    size = 1 + max(last_B.max() for _, last_B in measured)
    squares, counts = np.zeros((2, size))
    for norms_KBT, last_B in measured:
        lag_BT = last_B[:, None] - np.arange(norms_KBT.shape[-1])
        seen_BT = lag_BT >= 0
        squares += np.bincount(lag_BT[seen_BT], np.sum(norms_KBT**2, axis=0)[seen_BT], minlength=size)
        counts += np.bincount(lag_BT[seen_BT], minlength=size)
    return np.sqrt(squares / counts)
