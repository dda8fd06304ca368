"""What befalls series: mixing, stretching, swelling, shifts, spikes, bursts, limits, and missing values.

Each function takes whole batches [B, T] and draws from `rng` only, so that a batch is a pure function of its seed and
index. Rows are standardised or nearly so.
"""

import numpy as np

MIXED = (0.6, 0.25, 0.15)  # shares of rows that are mixtures of 1, 2 and 3 series
STRETCHED, FLIPPED, REVERSED, SWELLING = 0.2, 0.3, 0.05, 0.2
SHIFTED, SPIKED, BURSTING, LIMITED, ROUNDED = 0.08, 0.08, 0.05, 0.08, 0.05
LATE, GAPS, HOLES = 0.35, 0.1, 0.05  # shares of rows that begin late, have stretches or single values missing


def drawn(rng: np.random.Generator, bank_NT: np.ndarray, count: int, steps: int) -> np.ndarray:
    """[B, T] float64: random crops of mixtures of series of the bank (TSMixup, Ansari et al. 2024), augmented."""
    mixed_BT = np.zeros((count, steps))
    kinds_B = rng.choice(len(MIXED), size=count, p=MIXED)
    weight_BK = rng.dirichlet(np.full(len(MIXED), 1.5), count)
    for part in range(len(MIXED)):
        chosen = np.flatnonzero(kinds_B >= part)
        weights = weight_BK[chosen, part] / weight_BK[chosen].cumsum(axis=1)[np.arange(len(chosen)), kinds_B[chosen]]
        mixed_BT[chosen] += weights[:, None] * _crops(rng, bank_NT, len(chosen), steps)
    return _changed(rng, mixed_BT)


def _crops(rng: np.random.Generator, bank_NT: np.ndarray, count: int, steps: int) -> np.ndarray:
    """[B, T]: stretches of random series, some of them slower, by linear interpolation; each standardised."""
    number_B = rng.integers(len(bank_NT), size=count)
    speed_B = np.where(rng.random(count) < STRETCHED, rng.uniform(0.4, 1, count), 1)
    start_B = rng.random(count) * (bank_NT.shape[1] - 1 - speed_B * (steps - 1))
    start_B = np.where(speed_B == 1, np.floor(start_B), start_B)
    place_BT = start_B[:, None] + speed_B[:, None] * np.arange(steps)
    left_BT = place_BT.astype(np.int64)
    share_BT = place_BT - left_BT
    rows_BT = np.asarray(bank_NT[number_B], np.float64)
    right_BT = np.minimum(left_BT + 1, bank_NT.shape[1] - 1)
    crop_BT = (
        np.take_along_axis(rows_BT, left_BT, 1) * (1 - share_BT) + np.take_along_axis(rows_BT, right_BT, 1) * share_BT
    )
    return (crop_BT - crop_BT.mean(axis=1, keepdims=True)) / (crop_BT.std(axis=1, keepdims=True) + 1e-3)


def _some(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    return np.flatnonzero(rng.random(count) < share)


def _changed(rng: np.random.Generator, x_BT: np.ndarray) -> np.ndarray:
    count, steps = x_BT.shape
    x_BT *= np.where(rng.random(count) < FLIPPED, -1, 1)[:, None]
    rows = _some(rng, count, REVERSED)
    x_BT[rows] = x_BT[rows, ::-1]
    for row in _some(rng, count, SWELLING):  # amplitude modulation
        knots = np.sort(rng.random(rng.integers(1, 4)))
        size = np.exp(0.7 * rng.standard_normal(len(knots) + 2))
        x_BT[row] *= np.interp(np.linspace(0, 1, steps), [0, *knots, 1], size)
    for row in _some(rng, count, SHIFTED):
        x_BT[row, rng.integers(steps) :] += rng.standard_normal() * 1.5
    for row in _some(rng, count, SPIKED):
        x_BT[row] += _spikes(rng, steps) * rng.choice((-1, 1), p=(0.3, 0.7))
    for row in _some(rng, count, BURSTING):
        length = int(rng.integers(4, 60))
        begin = int(rng.integers(0, steps))
        stretch = x_BT[row, begin : begin + length]
        stretch += rng.uniform(0.5, 3) * rng.standard_normal(len(stretch)) + rng.standard_normal()
    for row in _some(rng, count, LIMITED):  # censoring
        limits = np.quantile(x_BT[row], np.sort(rng.choice((0, rng.uniform(0, 0.6), rng.uniform(0.4, 1), 1), 2, False)))
        x_BT[row] = np.clip(x_BT[row], *limits)
    for row in _some(rng, count, ROUNDED):
        grid = np.exp(rng.uniform(np.log(0.05), np.log(1)))
        x_BT[row] = np.round(x_BT[row] / grid) * grid
    return x_BT


def _spikes(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: few spikes at random times, or regular ones."""
    spikes_T = np.zeros(steps)
    if rng.random() < 0.5:
        places = rng.integers(steps, size=rng.integers(1, 8))
    else:
        places = np.arange(rng.integers(100), steps, rng.integers(12, 200))
    spikes_T[places] = rng.uniform(2, 8) * np.exp(0.2 * rng.standard_normal(len(places)))
    width = int(rng.integers(1, 4))
    return np.convolve(spikes_T, np.ones(width))[:steps]


def observed(rng: np.random.Generator, count: int, steps: int) -> np.ndarray:
    """[B, T] bools, false where a value is missing: before a series begins, in stretches, and here and there."""
    observed_BT = np.ones((count, steps), bool)
    for row in _some(rng, count, LATE):
        observed_BT[row, : int(steps * rng.random() * 0.75)] = False
    for row in _some(rng, count, GAPS):
        for _ in range(rng.integers(1, 4)):
            begin = int(rng.integers(0, steps))
            observed_BT[row, begin : begin + int(np.exp(rng.uniform(0, np.log(150))))] = False
    rows = _some(rng, count, HOLES)
    observed_BT[rows] &= rng.random((len(rows), steps)) > rng.uniform(0, 0.4, (len(rows), 1))
    return observed_BT
