"""Series as a detector sees them row by row: scaled by what came before.

Nothing at a row depends on later rows.
"""

from typing import Literal, NamedTuple

import numpy as np

from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.errors import UsageError

LEAST, SMALLEST = 0.2, 1e-6  # a scale is at least this share of the largest so far, and of the mean
MOST = 20.0  # scaled targets are cut there, so that a single row does not outweigh a batch

Seasons = Literal["none", "day", "week"]
Scaling = Literal["running", "calibration"]


class View(NamedTuple):
    """How series are scaled and read.

    Attributes:
        forecast: whether a row is predicted from the rows before it, or from itself (by an autoencoder).
        scaling: mean and deviation of the rows before, or of the training part.
        memory: rows that running means go back.
        seasons: further lags: none, a day, or a day and a week.
        held_out: share of the calibration part that is not trained on, its last rows.
    """

    forecast: bool
    scaling: Scaling
    memory: int
    seasons: Seasons
    held_out: float


class Stream(NamedTuple):
    """A series, ready to be read. A model's output o means the value base + scale o.

    Attributes:
        inputs_NF, targets_NC: float32.
        base_NC, scale_NC: float64.
        train, calibration: first rows that are trained on, and that are taken as normal.
    """

    inputs_NF: np.ndarray
    targets_NC: np.ndarray
    base_NC: np.ndarray
    scale_NC: np.ndarray
    train: int
    calibration: int


def prepared(series: Monitored, view: View) -> Stream:
    """Scales a series, and collects what is read at each row.

    A forecaster's target is the change from the row before, in deviations of changes. It reads the value of the row
    before in deviations of values, the last change, and for each season the value one season before the row, relative
    to the row before, the change there, and a mark that it exists. An autoencoder reads the row that is its target, in
    deviations of values. All that is read goes through the inverse hyperbolic sine.
    """
    values_NC, train = series.values_NC, trained_rows(series.calibration, view.held_out)
    mean_NC, scale_NC = _scaling(values_NC, view, train)
    if not view.forecast:
        base_NC, inputs_NF = mean_NC, (values_NC - mean_NC) / scale_NC
    else:
        base_NC, deviation_NC = _before(values_NC, 1), scale_NC
        changes_NC = values_NC - base_NC
        _, scale_NC = _scaling(changes_NC, view, train)
        parts = [(base_NC - mean_NC) / deviation_NC, _before(changes_NC, 1) / scale_NC]
        for lag in season_lags(series.times_N, series.calibration, view.seasons):
            there_NC = np.broadcast_to((np.arange(len(values_NC)) >= lag)[:, None], values_NC.shape)
            gap_NC, change_NC = (_before(values_NC, lag) - base_NC) / deviation_NC, _before(changes_NC, lag) / scale_NC
            parts += [np.where(there_NC, gap_NC, 0), np.where(there_NC, change_NC, 0), there_NC]
        inputs_NF = np.concatenate(parts, axis=1)
    targets_NC = np.clip((values_NC - base_NC) / scale_NC, -MOST, MOST)
    return Stream(
        np.arcsinh(inputs_NF).astype(np.float32),
        targets_NC.astype(np.float32),
        base_NC,
        scale_NC,
        train,
        series.calibration,
    )


def _scaling(values_NC: np.ndarray, view: View, train: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation that are known before each row, or of the training part."""
    if view.scaling == "running":
        mean_NC, scale_NC = moments_before(values_NC, view.memory)
        scale_NC = np.maximum(scale_NC, LEAST * np.maximum.accumulate(scale_NC, axis=0))
    else:
        mean_NC = np.broadcast_to(values_NC[:train].mean(axis=0), values_NC.shape)
        scale_NC = np.broadcast_to(values_NC[:train].std(axis=0), values_NC.shape)
    return mean_NC, np.maximum(scale_NC, SMALLEST * (1 + np.abs(mean_NC)))


def trained_rows(calibration: int, held_out: float) -> int:
    """Rows of the calibration part to train on; of the others, there is at least one."""
    return calibration - max(1, int(calibration * held_out))


def width(channels: int, view: View) -> int:
    """F, numbers that are read at each row."""
    lags = {"none": 0, "day": 1, "week": 2}[view.seasons]
    return channels * (2 + 3 * lags if view.forecast else 1)


def season_lags(times_N: np.ndarray | None, calibration: int, seasons: Seasons) -> list[int]:
    """Rows in a day, and in a week, by the median distance of dates in the calibration part.

    Raises:
        UsageError: there are no dates.
    """
    if seasons == "none":
        return []
    if times_N is None:
        raise UsageError("data.seasons needs dates; name the column of dates by data.time, or set data.seasons=none")
    step = max(1.0, float(np.median(np.diff(times_N[:calibration]).astype("timedelta64[s]").astype(float))))
    day = max(1, round(86400 / step))
    return [day, 7 * day][: 1 + (seasons == "week")]


def _before(values_NC: np.ndarray, lag: int) -> np.ndarray:
    """The values `lag` rows before; the first value where there is none."""
    rows_N = np.maximum(np.arange(len(values_NC)) - lag, 0)
    return values_NC[rows_N]


def moments_before(values_NC: np.ndarray, memory: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (of the population) of up to `memory` rows before each row, [rows, channels].

    The first row has its own value and 0.
    """
    first_C = values_NC[0]
    shifted_NC = values_NC - first_C  # smaller numbers, smaller rounding errors
    zero_1C = np.zeros((1, values_NC.shape[1]))
    sums_NC = np.concatenate([zero_1C, np.cumsum(shifted_NC, axis=0)])
    squares_NC = np.concatenate([zero_1C, np.cumsum(shifted_NC**2, axis=0)])
    row_N = np.arange(len(values_NC))
    from_N = np.maximum(row_N - memory, 0)
    count_N1 = np.maximum(row_N - from_N, 1)[:, None]
    mean_NC = (sums_NC[row_N] - sums_NC[from_N]) / count_N1
    variance_NC = (squares_NC[row_N] - squares_NC[from_N]) / count_N1 - mean_NC**2
    return mean_NC + first_C, np.sqrt(np.maximum(variance_NC, 0))
