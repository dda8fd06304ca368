"""How far free runs follow the truth, from the error after each step, as sums that add."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.tasks.base import Ratio

VALID = 0.4  # error in standard deviations up to which a free run is valid


def run_sums(square_BK: jax.Array) -> dict[str, Ratio]:
    """Sums over runs, given squared errors [B, K] in variances.

    `free_mse` is the error after each step. `valid` counts, for each k below K, the runs that are valid for exactly k
    steps.
    """
    steps = square_BK.shape[1]
    wrong_BK = square_BK > VALID**2
    valid_B = jnp.where(jnp.any(wrong_BK, axis=1), jnp.argmax(wrong_BK, axis=1), steps)
    runs = jnp.full((steps,), len(square_BK), jnp.float32)
    by_length_K = jnp.sum(jax.nn.one_hot(valid_B, steps, dtype=jnp.float32), axis=0)
    return {"free_mse": Ratio(jnp.sum(square_BK, axis=0), runs), "valid": Ratio(by_length_K, runs)}


def run_metrics(ratios: Mapping[str, Ratio]) -> tuple[dict[str, float], np.ndarray]:
    """`doubling` and `valid_steps`, K where it did not happen; and the root mean square error after each step."""
    error_K, steps = np.sqrt(ratios["free_mse"].value), len(ratios["free_mse"].total)
    doubled_K = error_K > 2 * error_K[0]
    reached_K = np.cumsum(ratios["valid"].value) >= 0.5
    found = {
        "doubling": float(np.argmax(doubled_K) + 1 if doubled_K.any() else steps),
        "valid_steps": float(np.argmax(reached_K) if reached_K.any() else steps),
    }
    return found, error_K
