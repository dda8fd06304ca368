"""Detectors without a network, as references: a windowed Gaussian, and principal components with control limits."""

import numpy as np
from scipy import special, stats

from xlstm_jax.data.series.anomalies.streams import moments_before

MEMORY, STEP = 6400, 100  # rows of the windowed Gaussian, and rows after which a full window moves on
DIGITS = 12  # of a score in the benchmark's files of results

EXPLAINED, LEVEL, SPAN = 0.85, 0.999, 5  # share of variance in the components; of a limit; rows of the running median


def windowed_gaussian(values_N: np.ndarray) -> np.ndarray:
    """1 - Q(|x - mean| / std), the detector of that name in NAB; Q is the tail of the normal distribution.

    Mean and deviation are those of all values before, until there are 6,400; then of a window of 6,400 that moves on by
    100 rows at a time.
    """
    mean_N, std_N = (part[:, 0] for part in moments_before(values_N[:, None], MEMORY))
    row_N = np.arange(len(values_N))
    known_N = np.where(row_N > MEMORY, MEMORY + (row_N - MEMORY) // STEP * STEP, row_N)  # when the window last moved
    mean_N, std_N = mean_N[known_N], std_N[known_N]
    distance_N = np.abs(values_N - mean_N) / np.where(std_N == 0, 1e-6, std_N)
    score_N = np.round(1 - special.erfc(distance_N / np.sqrt(2)) / 2, DIGITS)
    score_N[0] = 0
    return score_N


def t2_q(values_NC: np.ndarray, calibration: int) -> np.ndarray:
    """Hotelling's T2 of the principal components, and Q of what they leave, the larger relative to its limit.

    As in SKAB: channels are standardised by the calibration part; components explain 85% of its variance; a running
    median over 5 rows; limits at the level 0.999. That of T2 is k (n^2 - 1) / (n (n - k)) F(k, n - k), for n rows and k
    components. That of Q is Jackson & Mudholkar's (1979), from sums of powers of the remaining eigenvalues.
    """
    moving_C = np.ptp(values_NC[:calibration], axis=0) > 0
    if not moving_C.any():
        return np.zeros(len(values_NC))
    start_NC = values_NC[:calibration, moving_C]
    scaled_NC = (values_NC[:, moving_C] - start_NC.mean(axis=0)) / start_NC.std(axis=0)
    covariance_CC = np.atleast_2d(np.cov(scaled_NC[:calibration].T))
    variance_C, axes_CC = (part[..., ::-1] for part in np.linalg.eigh(covariance_CC))
    share_C = np.cumsum(variance_C) / variance_C.sum()
    k, n = min(int(np.sum(share_C <= EXPLAINED)) + 1, len(variance_C)), calibration
    parts_NK = scaled_NC @ axes_CC[:, :k]
    t2_N = np.sum(parts_NK**2 / variance_C[:k], axis=1)
    t2_limit = k * (n - 1) * (n + 1) / (n * (n - k)) * stats.f.ppf(LEVEL, k, n - k)
    relative_N = _running_median(t2_N) / t2_limit
    if k < len(variance_C):
        q_N = np.sum(scaled_NC**2, axis=1) - np.sum(parts_NK**2, axis=1)
        relative_N = np.maximum(relative_N, _running_median(q_N) / _q_limit(np.maximum(variance_C[k:], 0)))
    return relative_N


def _q_limit(variance_C: np.ndarray) -> float:
    """theta_1 (1 + c h sqrt(2 theta_2) / theta_1 + theta_2 h (h - 1) / theta_1^2)^(1 / h), theta_i = sum variance^i."""
    one, two, three = (float(np.sum(variance_C**power)) for power in (1, 2, 3))
    if two == 0:
        return np.inf
    h = 1 - 2 * one * three / (3 * two**2)
    c = stats.norm.ppf(LEVEL)
    return one * (1 + c * h * np.sqrt(2 * two) / one + two * h * (h - 1) / one**2) ** (1 / h)


def _running_median(x_N: np.ndarray) -> np.ndarray:
    """Median of the last 5 rows; 0 before there are 5."""
    median_N = np.zeros(len(x_N))
    if len(x_N) >= SPAN:
        median_N[SPAN - 1 :] = np.median(np.lib.stride_tricks.sliding_window_view(x_N, SPAN), axis=1)
    return median_N
