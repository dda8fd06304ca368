"""Seasonal series: profiles that repeat, within days and weeks or years, on trends and with noise."""

import numpy as np

# Steps in a season: quarters, weeks, years of months, of weeks, of days; days of hours, of 30, 15, 10 and 5 minutes;
# weeks of hours.
PERIODS = (4, 6, 7, 10, 12, 14, 24, 26, 30, 48, 52, 60, 96, 144, 168, 288, 336, 365)
# How often each is drawn; the rest of the draws have a period between 4 and 200.
SHARES = {24: 6, 12: 3, 7: 3, 52: 3, 48: 2, 96: 2, 168: 1, 288: 2, 4: 1, 365: 1, 30: 1, 60: 1, 144: 1, 26: 0.5, 14: 0.5}
ODD = 0.2  # share of periods that are drawn from 4 to 200, evenly on a logarithmic scale
SUPER = {24: 7, 48: 7, 96: 7, 12: 4, 7: 4, 4: 3}  # seasons in a longer one: days in a week


def draw_period(rng: np.random.Generator, most: int) -> int:
    """A period that fits `most` steps."""
    if rng.random() >= ODD:
        fits = {period: share for period, share in SHARES.items() if period <= most}
        weights = np.array(list(fits.values()), np.float64)
        return int(rng.choice(list(fits), p=weights / weights.sum()))
    return int(np.exp(rng.uniform(np.log(4), np.log(min(200, most)))))


def smoothed(rng: np.random.Generator, steps: int, knots: int) -> np.ndarray:
    """[T]: a piecewise linear path through that many random knots, standard normal."""
    return np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, knots), rng.standard_normal(knots))


def profile(rng: np.random.Generator, period: int) -> np.ndarray:
    """[period]: one season, with mean 0 and variance 1: waves, bumps, steps, peaks, or noise."""
    phase = np.arange(period) / period
    kind = rng.choice(5, p=(0.45, 0.25, 0.1, 0.1, 0.1))
    if kind == 0:
        count = int(rng.integers(1, max(2, min(period // 2, 7))))
        order = np.arange(1, count + 1)
        weight = rng.standard_normal((2, count)) / order ** rng.uniform(0.3, 1.5)
        angle = 2 * np.pi * order[:, None] * phase
        values = weight[0] @ np.cos(angle) + weight[1] @ np.sin(angle)
    elif kind in (1, 3):
        values = np.zeros(period)
        for _ in range(rng.integers(1, 4)):
            distance = np.abs(phase - rng.random())
            distance = np.minimum(distance, 1 - distance)
            width = rng.uniform(0.03, 0.2) if kind == 1 else rng.uniform(0.5, 1.5) / period
            values += rng.uniform(0.3, 1) * np.exp(-((distance / width) ** 2) / 2)
        values *= rng.choice((-1, 1), p=(0.2, 0.8))
    elif kind == 2:
        begin, share = rng.random(), rng.uniform(0.1, 0.6)
        values = ((phase - begin) % 1 < share) * 1.0
        if rng.random() < 0.5:
            values *= 1 + 0.5 * np.sin(2 * np.pi * (phase - begin) / share)
    else:
        values = rng.standard_normal(period)
    return (values - values.mean()) / (values.std() + 1e-6)


def noise(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] of variance about 1: Gaussian or heavy-tailed, white or autocorrelated."""
    from scipy.signal import lfilter

    tails = rng.random() < 0.3
    white_T = rng.standard_t(rng.uniform(2.5, 8), steps) if tails else rng.standard_normal(steps)
    if rng.random() < 0.5:
        return white_T
    phi = 1 - np.exp(rng.uniform(np.log(0.01), np.log(0.8)))
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], white_T)


def trend(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: none, a line, a saturating or bent line, or a random path."""
    time = np.linspace(0, 1, steps)
    kind = rng.choice(4, p=(0.3, 0.25, 0.2, 0.25))
    if kind == 0:
        return np.zeros(steps)
    if kind == 1:
        return rng.standard_normal() * 2 * time
    if kind == 2:
        return rng.standard_normal() * 2 * np.interp(time, [0, rng.uniform(0.2, 0.8), 1], [0, 1, rng.uniform(0, 2)])
    return np.cumsum(rng.standard_normal(steps)) / np.sqrt(steps) * rng.uniform(0.3, 3)


def drifting(rng: np.random.Generator, period: int, steps: int) -> np.ndarray:
    """[T]: a season whose shape goes a random way from cycle to cycle, more or less slowly."""
    cycles = steps // period + 2
    speed = np.exp(rng.uniform(np.log(0.01), np.log(0.3)))
    shape = profile(rng, period)
    ways = np.cumsum(rng.standard_normal((cycles, 1)), axis=0) * profile(rng, period)
    amplitude = np.exp(np.clip(np.cumsum(rng.standard_normal((cycles, 1)) * speed, axis=0), -1.5, 1.5))
    begin = rng.integers(period)
    return (shape * amplitude + speed * ways).ravel()[begin : begin + steps]


def fixed(rng: np.random.Generator, period: int, steps: int) -> np.ndarray:
    """[T]: a season that stays, and perhaps a season of seasons, such as days in a week with days off."""
    shape = np.tile(profile(rng, period), steps // period + 2)[rng.integers(period) :][:steps]
    if period not in SUPER or rng.random() < 0.3:
        return shape
    count = SUPER[period]
    each = rng.standard_normal(count) * rng.uniform(0.05, 0.6) if rng.random() < 0.5 else np.zeros(count)
    off = int(rng.integers(0, max(count // 3, 1) + 1))
    each[:off] -= rng.uniform(0.2, 2)
    day = (np.arange(steps) // period + rng.integers(count)) % count
    if rng.random() < 0.5:
        return shape + each[day]
    return (shape - shape.min() + 0.2) * np.exp(0.6 * each)[day]


def seasonal(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T], float64: trend, one or two seasons and noise, added, or multiplied and positive."""
    period = draw_period(rng, steps // 3)
    season_T = (drifting if rng.random() < 0.4 else fixed)(rng, period, steps)
    if rng.random() < 0.25:
        season_T = season_T + rng.uniform(0.2, 1) * fixed(rng, draw_period(rng, steps // 2), steps)
    level_T = trend(rng, steps) * rng.uniform(0, 2)
    noise_T = noise(rng, steps) * np.exp(rng.uniform(np.log(0.02), np.log(1.2)))
    if rng.random() < 0.5:
        return level_T + season_T + noise_T
    return np.exp(np.clip(rng.uniform(0.2, 0.8) * (level_T + season_T), -5, 5)) * np.exp(0.4 * np.clip(noise_T, -4, 4))
