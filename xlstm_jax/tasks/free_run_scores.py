"""Scores of free runs against the truth, as sums that add, and what follows from them.

The error after k steps, e_k = |x - prediction| / sqrt(D), is in standard deviations of the series. E_k is its root mean
square over all runs.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.data.problems.chaos import System
from xlstm_jax.tasks.base import Ratio

VALID = 0.4  # error in standard deviations up to which a free run is valid


def score_sums(run_BKD: jax.Array, future_BKD: jax.Array) -> dict[str, Ratio]:
    """By the number of steps k: squared errors, and runs whose first k steps alone are valid."""
    steps = future_BKD.shape[1]
    square_BK = jnp.mean((run_BKD - future_BKD) ** 2, axis=-1)
    wrong_BK = square_BK > VALID**2
    valid_B = jnp.where(jnp.any(wrong_BK, axis=1), jnp.argmax(wrong_BK, axis=1), steps)
    runs = jnp.full((steps,), len(square_BK), jnp.float32)
    by_length_K = jnp.sum(jax.nn.one_hot(valid_B, steps, dtype=jnp.float32), axis=0)
    return {"free_mse": Ratio(jnp.sum(square_BK, axis=0), runs), "valid": Ratio(by_length_K, runs)}


def derived(ratios: Mapping[str, Ratio], system: System | None) -> dict[str, float]:
    """Metrics of the sums of all runs. What did not happen within a run counts as its length.

    - `doubling`, the first k with E_k > 2 E_1;
    - `valid_steps`, the median over runs of the number of steps before e_k exceeds 0.4, and of a known system
      `valid_time`, the same in Lyapunov times (Pathak et al. 2018, Chaos 28:041101);
    - `nrmse_84` of Mackey-Glass, which is E_84 (Jaeger & Haas 2004, Science 304:78).
    """
    error_K, steps = np.sqrt(ratios["free_mse"].value), len(ratios["free_mse"].total)
    doubled_K = error_K > 2 * error_K[0]
    reached_K = np.cumsum(ratios["valid"].value) >= 0.5
    result = {
        "doubling": float(np.argmax(doubled_K) + 1 if doubled_K.any() else steps),
        "valid_steps": float(np.argmax(reached_K) if reached_K.any() else steps),
    }
    if system is not None:
        result["valid_time"] = result["valid_steps"] * system.interval * system.exponent
        if 0 < system.ahead <= steps:
            result[f"nrmse_{system.ahead}"] = float(error_K[system.ahead - 1])
    return result
