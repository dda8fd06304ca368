"""Scores of forecast windows of a table, as sums that add: standardised, and by column for the data's own units."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.data.series.forecasts.windows import Windows
from xlstm_jax.tasks.base import Ratio


def score_sums(
    batch: Windows, outputs_BHCQ: jax.Array, cost_BHC: jax.Array, means_C: np.ndarray | None = None
) -> tuple[Ratio, dict[str, Ratio]]:
    """The loss; `mse` and `mae` of the middle output; vectors by column, which are sums only.

    Args:
        batch: of which some values are scored.
        outputs_BHCQ: forecasts; with several quantiles, increasing.
        cost_BHC: the loss of each value.
        means_C: of quantile forecasts, mean / deviation of each column in the data; None: there are no quantiles.
    """

    def total(values_BHC: jax.Array, axes: tuple[int, ...] | None = None) -> Ratio:
        kept = jnp.where(batch.scored_BHC, values_BHC.astype(jnp.float32), 0)
        return Ratio(jnp.sum(kept, axes), jnp.sum(batch.scored_BHC, axes, dtype=jnp.float32))

    error_BHC = batch.future_BHC - outputs_BHCQ[..., outputs_BHCQ.shape[-1] // 2]
    ratios = {"mse": total(error_BHC**2), "mae": total(jnp.abs(error_BHC))}
    ratios |= {"squares_C": total(error_BHC**2, (0, 1)), "errors_C": total(jnp.abs(error_BHC), (0, 1))}
    if means_C is not None:
        inside = (batch.future_BHC >= outputs_BHCQ[..., 0]) & (batch.future_BHC <= outputs_BHCQ[..., -1])
        size_BHC = jnp.abs(batch.future_BHC + jnp.asarray(means_C, jnp.float32)[None, None])
        below_BHCQ = (batch.future_BHC[..., None] <= outputs_BHCQ) & batch.scored_BHC[..., None]
        below_Q = jnp.sum(below_BHCQ, (0, 1, 2), dtype=jnp.float32)
        ratios["below_Q"] = Ratio(below_Q, jnp.full_like(below_Q, ratios["mse"].count))
        ratios |= {"coverage": total(inside), "pinball_C": total(cost_BHC, (0, 1)), "sizes_C": total(size_BHC, (0, 1))}
    return total(cost_BHC), ratios


def in_units(ratios: Mapping[str, Ratio], std_C: np.ndarray) -> dict[str, float]:
    """Metrics in the data's own units: `rmse`, `mae_units`; of quantiles `wql`, sum of their loss / sum |y|.

    Args:
        ratios: of all batches, from `score_sums`.
        std_C: what the columns were divided by.
    """
    count = np.sum(ratios["squares_C"].count)
    derived = {
        "rmse": math.sqrt(np.sum(ratios["squares_C"].total * std_C**2) / count),
        "mae_units": float(np.sum(ratios["errors_C"].total * std_C) / count),
    }
    if "pinball_C" in ratios:
        cost, size = (np.sum(ratios[name].total * std_C) for name in ("pinball_C", "sizes_C"))
        derived["wql"] = float(cost / size)
    return derived
