"""Exponential smoothing with a recurrent network on top, after the winner of the M4 competition.

Smyl 2020, "A hybrid method of exponential smoothing and recurrent neural networks for time series forecasting"
(International Journal of Forecasting 36). Each series has its own smoothing coefficients and initial seasons, learned
together with the network that all series share.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.models.forecasting import ForecastConfig, Sizes
from xlstm_jax.models.stack_forecaster import StackForecaster

SEASONS = (24, 168)  # hours of a day and of a week
LEVEL, SEASON = -1.0, -2.0  # initial logits of the smoothing coefficients


class Smoothed(nnx.Module):
    """Multiplicative smoothing of positive series, y_t ~ l_t s_t w_t, with a level and two seasons:

        l_t = a y_t / (s_t w_t) + (1 - a) l_{t-1}
        s_{t+24} = b y_t / (l_t w_t) + (1 - b) s_t
        w_{t+168} = c y_t / (l_t s_t) + (1 - c) w_t

    a, b, c in (0, 1) and the initial seasons are parameters of each series; a series that was not trained on has the
    mean of the coefficients, and seasons of 1 at the start. The initial level is the first value without its season.

    Args:
        days_SX: daily factors that the series start from, [series, 24].
    """

    def __init__(self, days_SX: np.ndarray):
        self.count = count = len(days_SX)
        start = jnp.array([LEVEL, SEASON, SEASON], jnp.float32)
        self.logits = nnx.Param(jnp.tile(start, (count, 1)), decay=False)
        logs = np.pad(np.log(days_SX), ((0, 0), (0, SEASONS[1])))
        self.initial = nnx.Param(jnp.asarray(logs, jnp.float32), decay=False)

    def __call__(self, past_BT: jax.Array, start_B: jax.Array, series_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Level after the last step, [B], and seasonal factors s w at each step and the next 168, [B, T + 168]."""
        known_B1 = (series_B < self.count)[:, None]
        row_B = jnp.minimum(series_B, self.count - 1)
        logits_B3 = jnp.where(known_B1, self.logits[...][row_B], jnp.mean(self.logits[...], axis=0)[None])
        initial_BS = jnp.exp(jnp.where(known_B1, self.initial[...][row_B], 0))
        a_B, b_B, c_B = jnp.moveaxis(jax.nn.sigmoid(logits_B3), 1, 0)
        # The first elements of the rings are those of the first column, whatever its time.
        day_BS, week_BS = (_turned(ring_BS, start_B) for ring_BS in jnp.split(initial_BS, [SEASONS[0]], axis=1))
        time_BT = start_B[:, None] + jnp.arange(past_BT.shape[1], dtype=jnp.int32)[None]
        place_B = jnp.clip(-start_B, 0, past_BT.shape[1] - 1)
        first_B = jnp.take_along_axis(past_BT, place_B[:, None], axis=1)[:, 0]
        first_B /= jnp.take_along_axis(initial_BS, (place_B + start_B)[:, None] % SEASONS[0], axis=1)[:, 0]

        def step(state, now):
            level_B, day_BS, week_BS = state
            y_B, seen_B = now
            s_B, w_B = day_BS[:, 0], week_BS[:, 0]
            level = a_B * y_B / (s_B * w_B) + (1 - a_B) * level_B
            day, week = (b_B * y_B / (level * w_B) + (1 - b_B) * s_B, c_B * y_B / (level * s_B) + (1 - c_B) * w_B)
            level_B = jnp.where(seen_B, level, level_B)
            day_BS = jnp.concatenate([day_BS[:, 1:], jnp.where(seen_B, day, s_B)[:, None]], axis=1)
            week_BS = jnp.concatenate([week_BS[:, 1:], jnp.where(seen_B, week, w_B)[:, None]], axis=1)
            return (level_B, day_BS, week_BS), s_B * w_B

        seen_BT = time_BT >= 0
        # Before a series starts any positive number will do, as nothing is learned from it.
        steps = jnp.swapaxes(jnp.where(seen_BT, past_BT, 1), 0, 1), jnp.swapaxes(seen_BT, 0, 1)
        (level_B, day_BS, week_BS), factors_TB = jax.lax.scan(step, (first_B, day_BS, week_BS), steps, unroll=4)
        ahead_BS = jnp.tile(day_BS, (1, SEASONS[1] // SEASONS[0])) * week_BS
        return level_B, jnp.concatenate([jnp.swapaxes(factors_TB, 0, 1), ahead_BS], axis=1)


def _turned(ring_BS: jax.Array, start_B: jax.Array) -> jax.Array:
    """The ring from the given time on, in each row."""
    size = ring_BS.shape[1]
    place_BS = (start_B[:, None] + jnp.arange(size, dtype=jnp.int32)[None]) % size
    return jnp.take_along_axis(ring_BS, place_BS, axis=1)


class ESRNN(nnx.Module):
    """Forecasts y_{t+h} = l_t s_{t+h} w_{t+h} exp(r_h), r from a stack that reads log(y / (l_t s w)) of the context.

    Args:
        config: of the stack.
        sizes: of the windows.
        days_SX: see `Smoothed`.
        rngs: for the parameters.
    """

    def __init__(self, config: ForecastConfig, sizes: Sizes, days_SX: np.ndarray, *, rngs: nnx.Rngs):
        self.smoothed = Smoothed(days_SX)
        self.network = StackForecaster(config, sizes, rngs=rngs)

    def __call__(self, past_BT: jax.Array, start_B: jax.Array, series_B: jax.Array, key: Any = None) -> jax.Array:
        """Forecasts [B, H] of positive series."""
        sizes = self.network.sizes
        level_B, factor_BS = self.smoothed(past_BT, start_B, series_B)
        steps = past_BT.shape[1]
        here_BT, ahead_BH = factor_BS[:, steps - sizes.context : steps], factor_BS[:, steps : steps + sizes.horizon]
        ratio_BT = past_BT[:, -sizes.context :] / (level_B[:, None] * here_BT)
        r_BHCQ = self.network(jnp.log(ratio_BT)[..., None], key=key)
        return level_B[:, None] * ahead_BH * jnp.exp(r_BHCQ[..., 0, 0])
