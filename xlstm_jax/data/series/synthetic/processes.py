"""Classical processes: autoregressions, random walks, exponential smoothing, episodes, counts, changing regimes."""

import numpy as np
from scipy.signal import lfilter

from xlstm_jax.data.series.synthetic.seasons import draw_period, drifting, fixed, noise, profile, trend


def volatility(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: the standard deviation of shocks, constant or the exponential of an autoregression."""
    if rng.random() < 0.5:
        return np.ones(steps)
    phi = 1 - np.exp(rng.uniform(np.log(0.005), np.log(0.1)))
    path_T = lfilter([np.sqrt(1 - phi**2)], [1, -phi], rng.standard_normal(steps))
    return np.exp(rng.uniform(0.2, 0.9) * path_T)


def shocks(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: independent but for their volatility; heavy-tailed now and then."""
    heavy = rng.random() < 0.3
    white_T = rng.standard_t(rng.uniform(2.5, 8), steps) if heavy else rng.standard_normal(steps)
    return white_T * volatility(rng, steps)


def polynomial(roots: np.ndarray) -> np.ndarray:
    """Coefficients of prod_i (1 - roots[i] B), real."""
    return np.poly(roots).real


def draw_roots(rng: np.random.Generator, count: int) -> np.ndarray:
    """Roots inside of the unit circle, real or in conjugate pairs; many are close to it."""
    roots: list[complex] = []
    while len(roots) < count:
        size = 1 - np.exp(rng.uniform(np.log(0.003), np.log(0.9)))
        if count - len(roots) >= 2 and rng.random() < 0.4:
            angle = 2 * np.pi / np.exp(rng.uniform(np.log(3), np.log(100)))
            roots += [size * np.exp(1j * angle), size * np.exp(-1j * angle)]
        else:
            roots.append(size * (1 if rng.random() < 0.85 else -1))
    return np.array(roots)


def arma(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: a(B) y = b(B) e, with up to 4 roots in a and 2 in b, perhaps a factor 1 - phi B^m, perhaps integrated."""
    ar, ma = polynomial(draw_roots(rng, rng.integers(1, 5))), polynomial(draw_roots(rng, rng.integers(0, 3)))
    if rng.random() < 0.4:
        factor = np.zeros(draw_period(rng, steps // 3) + 1)
        factor[0], factor[-1] = 1, -rng.uniform(0.5, 0.99)
        ar = np.convolve(ar, factor)
    warm = steps
    values_T = lfilter(ma, ar, shocks(rng, steps + warm))[warm:]
    return np.cumsum(values_T - values_T.mean()) if rng.random() < 0.1 else values_T


def random_walk(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: y_t = phi y_{t-1} + drift + e_t with phi of 1 or a little less, perhaps with noise, perhaps as exp(y)."""
    phi = 1.0 if rng.random() < 0.6 else 1 - np.exp(rng.uniform(np.log(0.001), np.log(0.1)))
    shock_T = shocks(rng, steps)
    if rng.random() < 0.2:
        shock_T = shock_T * (rng.random(steps) < rng.uniform(0.02, 0.5))
    drift = rng.standard_normal() * 0.05 if rng.random() < 0.3 else 0.0
    path_T = lfilter([1], [1, -phi], shock_T * 1.0 + drift)
    if rng.random() < 0.3:
        path_T = path_T + rng.uniform(0.1, 2) * noise(rng, steps)
    return (
        np.exp(np.clip(rng.uniform(0.1, 1.0) * path_T / (path_T.std() + 1e-6), -6, 6)) if rng.random() < 0.3 else path_T
    )


def smoothing(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: level, damped trend and season, each a random walk (the state spaces of Hyndman et al. 2008), with noise."""
    share_level, share_trend = np.exp(rng.uniform(np.log(0.003), np.log(0.5), 2)) * (1, 0.02)
    slope_T = lfilter([1], [1, -rng.uniform(0.9, 1)], rng.standard_normal(steps) * share_trend)
    slope_T += rng.standard_normal() * 0.01 * (rng.random() < 0.5)
    level_T = np.cumsum(slope_T + rng.standard_normal(steps) * share_level)
    season_T = 0.0
    if rng.random() < 0.75:
        make = drifting if rng.random() < 0.6 else fixed
        season_T = make(rng, draw_period(rng, steps // 3), steps) * rng.uniform(0.5, 3)
    error_T = shocks(rng, steps) * rng.uniform(0.1, 1)
    if rng.random() < 0.4:
        size = level_T - level_T.min() + level_T.std() + 1
        return size * (1 + 0.2 * season_T) * np.exp(0.1 * np.clip(error_T, -5, 5))
    return level_T + season_T + error_T


def episodes(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: bumps of different sizes and widths on a low level, at about the same time of each season or at any time."""
    times = np.arange(steps)
    if rng.random() < 0.6:
        period = draw_period(rng, steps // 3)
        period = period if period >= 12 else 52
        centres = np.arange(-period, steps + period, period) + rng.uniform(0, period)
        centres = centres + rng.standard_normal(len(centres)) * period * rng.uniform(0, 0.12)
        width = period * rng.uniform(0.04, 0.2)
    else:
        centres = rng.uniform(-50, steps, rng.integers(5, 60))
        width = np.exp(rng.uniform(np.log(1), np.log(30)))
    sizes = np.exp(rng.uniform(0.1, 0.9) * rng.standard_normal(len(centres)))
    rise = width * np.exp(0.3 * rng.standard_normal(len(centres)))
    fall = rise * np.exp(rng.uniform(-0.2, 1.5))
    away = times[:, None] - centres
    shape = np.exp(-np.abs(away) / fall) if rng.random() < 0.3 else np.exp(-((away / fall) ** 2) / 2)
    shape = np.where(away < 0, np.exp(-((away / rise) ** 2) / 2), shape)
    values_T = shape @ sizes * (1 + trend(rng, steps).clip(-0.7, 3)) + rng.uniform(0, 0.3)
    return values_T * np.exp(rng.uniform(0.01, 0.3) * noise(rng, steps))


def heavy(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: positive and skewed, exp of an autocorrelated path with a weak season; hourly pollution looks like it."""
    phi = 1 - np.exp(rng.uniform(np.log(0.004), np.log(0.2)))
    path_T = lfilter([np.sqrt(1 - phi**2)], [1, -phi], rng.standard_normal(steps + 200))[200:]
    season_T = fixed(rng, draw_period(rng, steps // 3), steps) * rng.uniform(0, 0.6)
    jitter_T = rng.standard_normal(steps) * rng.uniform(0, 0.3)
    return np.exp(np.clip(rng.uniform(0.3, 1.2) * (path_T + season_T + jitter_T), -5, 5))


def counts(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: Poisson counts, whose rate has a season, a trend, or long times of nothing."""
    rate = np.exp(rng.uniform(np.log(0.1), np.log(50)))
    path_T = fixed(rng, draw_period(rng, steps // 3), steps) * rng.uniform(0, 1) + 0.5 * trend(rng, steps)
    values_T = rng.poisson(rate * np.exp(np.clip(path_T, -4, 4))).astype(np.float64)
    if rng.random() < 0.3:
        values_T *= rng.random(steps) < rng.uniform(0.1, 0.8)
    return values_T


def waves(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: sines of any period, saw teeth or square waves, and a little noise."""
    times, values_T = np.arange(steps), np.zeros(steps)
    for _ in range(rng.integers(1, 4)):
        period = np.exp(rng.uniform(np.log(4), np.log(steps / 2)))
        turn = times / period + rng.random()
        kind, size = rng.choice(4, p=(0.55, 0.2, 0.15, 0.1)), rng.uniform(0.3, 1)
        if kind == 0:
            values_T += size * np.sin(2 * np.pi * turn)
        elif kind == 1:
            peak = rng.uniform(0.02, 0.98)
            values_T += size * np.interp(turn % 1, [0, peak, 1], [-1, 1, -1])
        elif kind == 2:
            values_T += size * np.sign(np.sin(2 * np.pi * turn))
        else:
            values_T += size * np.sin(2 * np.pi * turn) * np.sin(2 * np.pi * turn / rng.uniform(3, 12))
    return values_T + noise(rng, steps) * np.exp(rng.uniform(np.log(0.005), np.log(0.5))) + trend(rng, steps) * 0.5


def switching(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T]: a few regimes, each with its level, spread and persistence, that take turns; machines look like it."""
    stay = np.exp(rng.uniform(np.log(8), np.log(300)))
    count = int(rng.integers(2, 5))
    changes = rng.random(steps) < 1 / stay
    regime_T = rng.integers(count, size=steps + 1)[np.cumsum(changes)]
    level_R, spread_R = rng.standard_normal(count) * 1.5, np.exp(rng.uniform(np.log(0.02), np.log(0.6), count))
    values_T = level_R[regime_T] + spread_R[regime_T] * noise(rng, steps)
    if rng.random() < 0.4:
        period = draw_period(rng, steps // 3)
        values_T += np.tile(profile(rng, period), steps // period + 1)[:steps] * rng.uniform(0.1, 1)
    if rng.random() < 0.4:
        values_T += np.where(rng.random(steps) < 0.01, rng.exponential(3, steps), 0)
    return values_T
