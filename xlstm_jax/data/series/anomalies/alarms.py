"""From a model's errors to scores of rows: for the onset of anomalies, and for states that last.

A score is as high as a row is anomalous; an alarm is a score of at least a threshold. Everything is causal: a row's
score depends on no later row.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from xlstm_jax.data.series.anomalies.streams import SMALLEST, moments_before

MEMORY = 6400  # rows that long-term means go back, as far as the windowed Gaussian detector of NAB
SPAN = 30  # rows of short-term means
HIGHEST = 50.0  # deviations, so that a series that stood still does not outweigh all others
BEYOND, MARGIN, SETTLED = 7.5, 0.01, 50  # score of a value outside of the range so far; by which share; from which row
QUIET = 0.6  # share of the calibration part in which a score counts only if it is the highest

SMOOTHED = 20  # rows that a state's errors are averaged over
SAFETY = 2.0  # by how much a state must exceed the largest statistic of the held out rows


def surprise(x_N: np.ndarray, memory: int = MEMORY) -> np.ndarray:
    """|x - mean| / deviation, both of up to `memory` values before; at most `HIGHEST`."""
    mean_N, std_N = (part[:, 0] for part in moments_before(x_N[:, None], memory))
    return np.minimum(np.abs(x_N - mean_N) / np.maximum(std_N, SMALLEST * (1 + np.abs(mean_N - x_N[0]))), HIGHEST)


def trailing_mean(x_NC: np.ndarray, span: int) -> np.ndarray:
    """Mean of the last `span` rows, this one included; of fewer at the beginning."""
    sums_NC = np.concatenate([np.zeros_like(x_NC[:1]), np.cumsum(x_NC, axis=0)])
    row_N = np.arange(len(x_NC))
    from_N = np.maximum(row_N - span + 1, 0)
    count_N = (row_N + 1 - from_N).reshape(-1, *(1,) * (x_NC.ndim - 1))
    return (sums_NC[row_N + 1] - sums_NC[from_N]) / count_N


def beyond(x_N: np.ndarray) -> np.ndarray:
    """Whether each value is outside of the range of all values before, by more than a hundredth of that range."""
    high_N, low_N = np.maximum.accumulate(x_N)[:-1], np.minimum.accumulate(x_N)[:-1]
    excess_N = np.maximum(x_N[1:] - high_N, low_N - x_N[1:])
    outside_N = np.append(False, excess_N > MARGIN * np.maximum(high_N - low_N, SMALLEST * (1 + np.abs(x_N[0]))))
    outside_N[:SETTLED] = False
    return outside_N


def fresh(score_N: np.ndarray, quiet: int) -> np.ndarray:
    """The score where it is higher than each of the last `quiet` scores, 0 elsewhere: an alarm is not repeated."""
    before_N = np.concatenate([np.full(quiet, -np.inf), score_N[:-1]])
    highest_N = sliding_window_view(before_N, quiet).max(axis=1) if quiet else np.full(len(score_N), -np.inf)
    return np.where(score_N > highest_N, score_N, 0.0)


def onset_scores(values_NC: np.ndarray, residuals_NC: np.ndarray, calibration: int) -> np.ndarray:
    """Scores of the onset of anomalies: surprises at several time scales, in standard deviations.

    The score of a channel is z(r) + z(mean r) + z(mean x) + 7.5 [x is outside of the range so far]. r is the model's
    residual, means are over the last 30 rows, and z is the distance from the long-term mean in deviations, similar to
    the anomaly likelihood of Lavin & Ahmad 2015. The channel with the highest score counts. A score is reported only if
    it is higher than all those before it within 0.6 times the length of the calibration part.

    Args:
        values_NC: the series.
        residuals_NC: values minus what the model expected.
        calibration: rows of the calibration part.
    """
    channels = []
    for value_N, residual_N in zip(values_NC.T, residuals_NC.T, strict=True):
        means = (trailing_mean(part_N, SPAN) for part_N in (residual_N, value_N))
        channels.append(surprise(residual_N) + sum(map(surprise, means)) + BEYOND * beyond(value_N))
    return fresh(np.max(channels, axis=0), int(QUIET * calibration))


def state_scores(errors_NC: np.ndarray, train: int, calibration: int) -> np.ndarray:
    """Scores of states that last, such as a valve that is closed: 1 is the limit.

    The statistic is the root mean square over channels of the mean error of the last 20 rows, each channel relative to
    its root mean square in the calibration part: in the rows trained on or in those held out, whichever is larger. A
    channel that drifts, so that the model is wrong about it soon after training, counts little. The limit is twice the
    largest statistic in the rows held out, or in all of the calibration part if none were.

    Args:
        errors_NC: the model's errors, in any unit of each channel.
        train, calibration: rows that were trained on, and rows that are taken as normal, `train` included.
    """
    mean_NC = trailing_mean(errors_NC, SMOOTHED)
    held_out = slice(train if train < calibration else 0, calibration)
    size_C = np.maximum(_rms(mean_NC[:train], 0), _rms(mean_NC[held_out], 0))
    relative_NC = mean_NC / np.maximum(size_C, np.finfo(np.float64).tiny)
    statistic_N = _rms(np.where(size_C > 0, relative_NC, 0), 1)
    return statistic_N / (SAFETY * max(float(statistic_N[held_out].max()), np.finfo(np.float64).tiny))


def _rms(x_NC: np.ndarray, axis: int) -> np.ndarray:
    return np.sqrt(np.mean(x_NC**2, axis=axis))


def stretches(alarm_N: np.ndarray) -> list[tuple[int, int]]:
    """First and last row of each run of alarms."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], alarm_N.astype(int), [0]])))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]
