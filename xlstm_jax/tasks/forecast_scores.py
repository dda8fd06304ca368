"""Quantiles: their loss, and scores over several data sets as sums that add, the weighted quantile loss and MASE."""

import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.data.series.zero_shot.masked import Windows
from xlstm_jax.errors import UsageError, shown
from xlstm_jax.models.patches import Scale
from xlstm_jax.tasks.base import Ratio

KINDS = ("wql", "mase")


def quantile_levels(text: str) -> np.ndarray:
    """The levels in `data.quantiles`, [Q], float32.

    Raises:
        UsageError: they are not increasing numbers between 0 and 1 with 0.5 in the middle.
    """
    try:
        levels = [float(part) for part in text.split(",")]
    except ValueError:
        levels = []
    inside = all(0 < level < 1 for level in levels) and levels == sorted({*levels})
    if not inside or len(levels) % 2 == 0 or levels[len(levels) // 2] != 0.5:
        raise UsageError(
            f"data.quantiles {shown(text)} is not allowed; give increasing numbers between 0 and 1 with 0.5 in the "
            "middle, such as 0.1,0.5,0.9"
        )
    return np.array(levels, np.float32)


def pinball(truth: jax.Array, quantiles: jax.Array, levels: Sequence[float]) -> jax.Array:
    """2 mean_q max(q e, (q - 1) e), e = truth - quantile q: [...] of truth [...] and quantiles [..., Q]."""
    error = truth[..., None] - quantiles
    level = jnp.broadcast_to(jnp.asarray(levels, error.dtype), error.shape)
    return 2 * jnp.mean(jnp.maximum(level * error, (level - 1) * error), axis=-1)


def of_patches(
    batch: Windows, u_BPSQ: jax.Array, scale: Scale, levels: Sequence[float], names: Sequence[str]
) -> tuple[Ratio, dict[str, Ratio]]:
    """The `pinball` loss of standardised values, and of windows of data sets the `score_sums` in their own units.

    Args:
        batch: of P patches of S steps.
        u_BPSQ: standardised quantiles of the patch after each one; that after the last does not count.
        scale: of the rows.
        levels, names: as in `score_sums`.
    """
    size, u_BPSQ = u_BPSQ.shape[2], u_BPSQ[:, :-1]

    def patches(x_BT: jax.Array) -> jax.Array:  # those that are forecast: all but the first
        return x_BT[:, size:].reshape(x_BT.shape[0], -1, size)

    scored_BPS, truth_BPS = patches(batch.scored_BT), patches(scale.standardised(batch.values_BT))
    cost_BPS = pinball(truth_BPS, u_BPSQ, levels)
    loss = Ratio(jnp.sum(jnp.where(scored_BPS, cost_BPS, 0)), jnp.sum(scored_BPS, dtype=jnp.float32))
    if batch.set_B is None:
        return loss, {}
    q_BPSQ = jnp.sort(scale.restored(u_BPSQ), axis=-1)
    return loss, score_sums(batch, patches(batch.values_BT), scored_BPS, q_BPSQ, levels, names)


def score_sums(
    batch: Windows,
    truth_BPS: jax.Array,
    scored_BPS: jax.Array,
    quantiles_BPSQ: jax.Array,
    levels: Sequence[float],
    names: Sequence[str],
) -> dict[str, Ratio]:
    """For each data set its scores, those of the reference forecast and the shares of values up to each quantile.

    The coverage is that of all sets together.

    The weighted quantile loss is sum of `pinball` / sum |y|. The MASE is the mean over windows of mean |y - median| /
    scale.

    Args:
        batch: with `set_B`, `error_B` and `reference_B`.
        truth_BPS: values, in their own units.
        scored_BPS: bools, the values that count.
        quantiles_BPSQ: increasing.
        levels: of the quantiles; the median is in the middle.
        names: of the data sets by number.
    """

    def total(x_BPS: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(scored_BPS, x_BPS, 0), axis=(1, 2))

    count_B, size_B = total(jnp.ones_like(truth_BPS)), total(jnp.abs(truth_BPS))
    loss_B = total(pinball(truth_BPS, quantiles_BPSQ, levels))
    error_B = total(jnp.abs(truth_BPS - quantiles_BPSQ[..., len(levels) // 2])) / jnp.maximum(count_B, 1)
    inside_BPS = (truth_BPS >= quantiles_BPSQ[..., 0]) & (truth_BPS <= quantiles_BPSQ[..., -1])
    ratios = {"coverage": Ratio(jnp.sum(total(inside_BPS.astype(truth_BPS.dtype))), jnp.sum(count_B))}
    below_BQ = jnp.sum((truth_BPS[..., None] <= quantiles_BPSQ) & scored_BPS[..., None], (1, 2), dtype=jnp.float32)
    for number, name in enumerate(names):
        here_B = batch.set_B == number
        counts_BQ = below_BQ, jnp.broadcast_to(count_B[:, None], below_BQ.shape)
        ratios[f"{name}_below_Q"] = Ratio(*(jnp.sum(jnp.where(here_B[:, None], x_BQ, 0), axis=0) for x_BQ in counts_BQ))
        scaled_B = here_B & (batch.error_B > 0)
        scale_B = jnp.where(scaled_B, batch.error_B, 1)
        for whose, cost_B, mean_B in (
            ("", loss_B, error_B),
            ("reference_", batch.reference_B * count_B, batch.reference_B),
        ):
            wql = Ratio(*(jnp.sum(jnp.where(here_B, x_B, 0)) for x_B in (cost_B, size_B)))
            mase = Ratio(jnp.sum(jnp.where(scaled_B, mean_B / scale_B, 0)), jnp.sum(scaled_B, dtype=jnp.float32))
            ratios |= {f"{name}_{whose}wql": wql, f"{name}_{whose}mase": mase}
    return ratios


def relative(ratios: Mapping[str, Ratio], names: Sequence[str]) -> dict[str, float]:
    """Each score over that of the reference forecast, and geometric means over the data sets."""
    quotients = {
        f"{name}_relative_{kind}": float(ratios[f"{name}_{kind}"].value / ratios[f"{name}_reference_{kind}"].value)
        for name in names
        for kind in KINDS
    }
    means = {
        f"relative_{kind}": math.exp(np.mean([np.log(quotients[f"{name}_relative_{kind}"]) for name in names]))
        for kind in KINDS
    }
    return quotients | means
