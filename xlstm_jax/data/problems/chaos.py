"""Chaotic systems as time series: Mackey-Glass with two delays, and Lorenz, integrated by Runge-Kutta's method.

Mackey & Glass 1977 (Science 197:287), with the constants and the delays of Farmer 1982 (Physica D 4:366), sampled at
every unit of time. Lorenz 1963 (J. Atmos. Sci. 20:130), sampled at every 0.02.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.pieces import drawn

SERIES_SEED = 2**63  # above the seeds of runs and of evaluation splits
FORGOTTEN = 500  # samples after which the initial state no longer matters
PRODUCTION, DECAY, POWER = 0.2, 0.1, 10  # of Mackey-Glass
SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3  # of Lorenz
LORENZ_INTERVAL = 0.02


class System(NamedTuple):
    """A chaotic system.

    Attributes:
        names: of its variables.
        interval: time between two samples.
        exponent: the largest Lyapunov exponent, per unit of time: small errors grow like exp(exponent * time).
        draw: (rng, N, S) to N series of S samples from random initial states, [N, S, variables], float64.
        ahead: samples ahead at which forecasts are usually compared; 0: at no fixed number.
    """

    names: tuple[str, ...]
    interval: float
    exponent: float
    draw: Callable[[np.random.Generator, int, int], np.ndarray]
    ahead: int = 0


def mackey_glass_slope(now: np.ndarray, delayed: np.ndarray) -> np.ndarray:
    """dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)."""
    return PRODUCTION * delayed / (1 + delayed**POWER) - DECAY * now


def mackey_glass(history_N: np.ndarray, delay: int, samples: int, substeps: int = 5) -> np.ndarray:
    """Integrates Mackey-Glass from constant histories; returns x(0), x(1), ..., [N, samples], float64.

    Runge-Kutta's method of order 4 with 1 / `substeps` units of time per step. In the middle of a step, the delayed
    value is that of the cubic through the values and slopes at the step's ends, which keeps the order.

    Args:
        history_N: x(t) for all t <= 0.
        delay: tau, in whole units of time.
    """
    step, lag, last = 1 / substeps, delay * substeps, (samples - 1) * substeps
    x_SN = np.empty((lag + last + 1, len(history_N)))  # from t = -tau on
    slope_SN = np.zeros_like(x_SN)
    x_SN[: lag + 1] = history_N
    for now in range(lag, lag + last):
        old, x_N = now - lag, x_SN[now]
        middle_N = (x_SN[old] + x_SN[old + 1]) / 2
        if old >= lag:  # before t = 0 the history is constant, and at t = 0 the slope jumps
            middle_N = middle_N + step / 8 * (slope_SN[old] - slope_SN[old + 1])
        k1 = slope_SN[now] = mackey_glass_slope(x_N, x_SN[old])
        k2 = mackey_glass_slope(x_N + step / 2 * k1, middle_N)
        k3 = mackey_glass_slope(x_N + step / 2 * k2, middle_N)
        k4 = mackey_glass_slope(x_N + step * k3, x_SN[old + 1])
        x_SN[now + 1] = x_N + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x_SN[lag::substeps].T.copy()


def lorenz_slope(state_3N: np.ndarray) -> np.ndarray:
    """dx/dt = 10 (y - x), dy/dt = x (28 - z) - y, dz/dt = x y - 8/3 z."""
    x, y, z = state_3N
    slope_3N = np.empty_like(state_3N)
    slope_3N[0] = SIGMA * (y - x)
    slope_3N[1] = x * (RHO - z) - y
    slope_3N[2] = x * y - BETA * z
    return slope_3N


def lorenz(state_3N: np.ndarray, samples: int, substeps: int = 10) -> np.ndarray:
    """Integrates Lorenz from the given states; returns them at times 0, 0.02, ..., [N, samples, 3], float64.

    Runge-Kutta's method of order 4 with `substeps` steps per sample.
    """
    step = LORENZ_INTERVAL / substeps
    found_S3N = np.empty((samples, *state_3N.shape))
    found_S3N[0] = state_3N
    for number in range(1, samples):
        for _ in range(substeps):
            k1 = lorenz_slope(state_3N)
            k2 = lorenz_slope(state_3N + step / 2 * k1)
            k3 = lorenz_slope(state_3N + step / 2 * k2)
            k4 = lorenz_slope(state_3N + step * k3)
            state_3N = state_3N + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found_S3N[number] = state_3N
    return np.ascontiguousarray(np.moveaxis(found_S3N, 2, 0))


def _draw_mackey_glass(delay: int, rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
    return mackey_glass(rng.uniform(0.5, 1.3, count), delay, FORGOTTEN + samples)[:, FORGOTTEN:, None]


def _draw_lorenz(rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
    center_31 = np.array([[0.0], [0.0], [RHO - 1]])
    return lorenz(center_31 + rng.uniform(-5, 5, (3, count)), FORGOTTEN + samples)[:, FORGOTTEN:]


SYSTEMS = {
    "mackey_glass_17": System(("x",), 1.0, 0.0052, functools.partial(_draw_mackey_glass, 17), ahead=84),
    "mackey_glass_30": System(("x",), 1.0, 0.0069, functools.partial(_draw_mackey_glass, 30), ahead=84),
    "lorenz": System(("x", "y", "z"), LORENZ_INTERVAL, 0.9056, _draw_lorenz),
}


@functools.lru_cache(maxsize=8)
def trajectories(system: str, part: int, count: int, samples: int) -> np.ndarray:
    """Series [N, samples, variables], float64, read-only: a pure function of the arguments.

    Args:
        system: a name in `SYSTEMS`.
        part: series of different parts are different.
        count: N.
    """
    series_NSD = SYSTEMS[system].draw(generator(SERIES_SEED, part), count, samples)
    series_NSD.flags.writeable = False
    return series_NSD


class FreeRows(NamedTuple):
    """True beginnings of series, and what comes after them."""

    prefix_BPD: np.ndarray  # float32
    future_BKD: np.ndarray  # float32


class FreeRuns:
    """A problem (`Problem`) of rows for free runs, drawn like `Pieces`.

    Args:
        series_NSD: standardised series.
        warm_up: P, steps of a beginning.
        steps: K, steps after it.
    """

    def __init__(self, series_NSD: np.ndarray, warm_up: int, steps: int):
        self.series_NSD, self.warm_up, self.length = series_NSD, warm_up, warm_up + steps

    def rows(self, rng: np.random.Generator, count: int) -> FreeRows:
        (piece_BTD,) = drawn(rng, count, self.length, self.series_NSD)
        return FreeRows(piece_BTD[:, : self.warm_up], piece_BTD[:, self.warm_up :])
