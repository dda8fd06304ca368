"""Series as a detector sees them row by row: scaled by what came before, cut into overlapping windows.

Nothing at a row depends on later rows.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
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
    return calibration - int(calibration * held_out)


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


class Windows(NamedTuple):
    """A batch of windows. Only the last `stride` rows of a window are judged by it; those before are context."""

    inputs_BTF: np.ndarray  # float32, 0 before the first row
    targets_BTC: np.ndarray  # float32
    scored_BT: np.ndarray  # bool: counts in the loss
    row_B: np.ndarray  # int32: number, among all rows of all series, of the first row that is judged; -1: none
    rows_B: np.ndarray  # int32: how many rows are judged


class Corpus:
    """Windows of several streams.

    Args:
        streams: one or several.
        window: T, rows of a window.
        stride: rows between windows, at most T.
    """

    def __init__(self, streams: Sequence[Stream], window: int, stride: int):
        self.streams, self.window, self.stride = streams, window, stride
        self.offset_S = np.cumsum([0, *(len(one.targets_NC) for one in streams)])

    def cut(self, windows: Sequence[tuple[int, int, int, int]], *, judged: bool) -> Windows:
        """The batch of (number of a stream, first row, scored from, scored up to); number -1 fills up a batch."""
        shapes = [(len(windows), self.window, array.shape[1]) for array in self.streams[0][:2]]
        inputs_BTF, targets_BTC = (np.zeros(shape, np.float32) for shape in shapes)
        scored_BT = np.zeros(shapes[0][:2], bool)
        row_B, rows_B = np.full(len(windows), -1, np.int32), np.zeros(len(windows), np.int32)
        for place, (number, first, low, high) in enumerate(windows):
            if number < 0:
                continue
            stream = self.streams[number]
            here = slice(max(first, 0), min(first + self.window, len(stream.targets_NC)))
            there = slice(here.start - first, here.stop - first)
            inputs_BTF[place, there], targets_BTC[place, there] = stream.inputs_NF[here], stream.targets_NC[here]
            scored_BT[place, there] = (np.arange(here.start, here.stop) >= low) & (
                np.arange(here.start, here.stop) < high
            )
            if judged:
                start = first + self.window - self.stride
                row_B[place], rows_B[place] = self.offset_S[number] + start, here.stop - start
        return Windows(inputs_BTF, targets_BTC, scored_BT, row_B, rows_B)


class TrainStreams:
    """Endless random-access source: a series at random, and a window that ends in its training part.

    Windows may begin before the series, as they do when a series begins to be watched. The first row does not count.

    Args:
        corpus: what the windows are cut from.
        batch_size: windows of the global batch.
        seed: of the draws.
        part: the windows of each global batch that this process reads.
    """

    def __init__(self, corpus: Corpus, *, batch_size: int, seed: int, part: slice):
        self._corpus, self._size, self._seed, self._part = corpus, batch_size, seed, part
        self._earliest = corpus.stride - corpus.window
        if (fewest := min(one.train for one in corpus.streams)) < corpus.stride:
            raise UsageError(
                f"data.stride {corpus.stride} is more than the {fewest} rows that a series is trained on; lower it"
            )

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Windows:
        rng, streams = generator(self._seed, index), self._corpus.streams
        number_B = rng.integers(len(streams), size=self._size)
        last_B = np.array([streams[number].train for number in number_B]) - self._corpus.window
        first_B = rng.integers(self._earliest, np.maximum(last_B, self._earliest) + 1)
        chosen = [*zip(number_B, first_B, strict=True)][self._part]
        return self._corpus.cut([(n, first, 1, streams[n].train) for n, first in chosen], judged=False)


class EvaluationStreams:
    """Random-access source of a split's windows, each row judged once, filled up with windows that do not count.

    Args:
        corpus: what the windows are cut from.
        split: "validation": the held out rows of the calibration parts; "test": all rows, of which those after the
            calibration part count in the loss.
        batch_size, part: as in `TrainStreams`.
    """

    def __init__(self, corpus: Corpus, split: str, *, batch_size: int, part: slice):
        self._corpus, self._size, self._part, self._judged = corpus, batch_size, part, split == "test"
        self._windows = []
        for number, one in enumerate(corpus.streams):
            bounds = (0, len(one.targets_NC)) if self._judged else (one.train, one.calibration)
            low, high = (one.calibration, len(one.targets_NC)) if self._judged else bounds
            for row in range(*bounds, corpus.stride):
                first = row - (corpus.window - corpus.stride)
                self._windows.append((number, first, max(row, low), high))

    def __len__(self) -> int:
        return math.ceil(len(self._windows) / self._size)

    def __getitem__(self, index: int) -> Windows:
        here = self._windows[index * self._size : (index + 1) * self._size]
        here += [(-1, 0, 0, 0)] * (self._size - len(here))
        return self._corpus.cut(here[self._part], judged=self._judged)
