"""Synthetic covariates: series that act on the target, with a lag, through a curve, or as pulses like holidays."""

from typing import NamedTuple

import numpy as np

from xlstm_jax.data.series.synthetic.augment import drawn

MOST_LAG = 12


class Covariates(NamedTuple):
    """Covariates of a batch of series, and what they add to it."""

    values_BTC: np.ndarray  # float64
    effect_BT: np.ndarray  # float64, in units of the standardised target
    future_BC: np.ndarray  # bools: known ahead of time


def with_effects(rng: np.random.Generator, bank_NT: np.ndarray, count: int, steps: int, number: int) -> Covariates:
    """For each row `number` covariates; each of them acts or, now and then, does not."""
    values_BTC, effect_BT = np.zeros((count, steps, number)), np.zeros((count, steps))
    for place in range(number):
        shape_BT = drawn(rng, bank_NT, count, steps)
        for row in range(count):
            if rng.random() < 0.4:
                shape_BT[row] = _pulses(rng, steps)
            values_BTC[row, :, place] = shape_BT[row]
            effect_BT[row] += _effect(rng, shape_BT[row])
    return Covariates(values_BTC, effect_BT, rng.random((count, number)) < 0.7)


def _pulses(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] of 0 and 1: holidays, at regular or random times, each some steps long."""
    length = int(np.exp(rng.uniform(0, np.log(30))))
    if rng.random() < 0.5:
        places = np.arange(rng.integers(0, 150), steps, rng.integers(20, 200))
    else:
        places = rng.integers(steps, size=rng.integers(3, 20))
    pulses_T = np.zeros(steps)
    for place in places:
        pulses_T[place : place + length] = 1
    return pulses_T


def _effect(rng: np.random.Generator, x_T: np.ndarray) -> np.ndarray:
    if rng.random() < 0.15:
        return np.zeros_like(x_T)
    lag = int(rng.integers(0, MOST_LAG + 1)) if rng.random() < 0.5 else 0
    late_T = np.concatenate([np.full(lag, x_T[0]), x_T[: len(x_T) - lag]])
    kind = rng.random()
    if kind < 0.15:
        late_T = np.maximum(late_T, np.median(late_T))
    elif kind < 0.25:
        late_T = np.tanh(late_T)
    elif kind < 0.35:
        late_T = late_T**2
    spread = late_T.std()
    return (
        rng.choice((-1, 1)) * np.exp(rng.uniform(np.log(0.3), np.log(3))) * (late_T - late_T.mean()) / (spread + 1e-6)
    )
