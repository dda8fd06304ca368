"""Windows of sets of real series, to fine-tune a forecaster on and to score it."""

import math

import numpy as np

from xlstm_jax.data.series.zero_shot.masked import Drawn, Shape, TrainWindows, Windows, windows
from xlstm_jax.data.series.zero_shot.series_set import SeriesSet


class TuningWindows(TrainWindows):
    """Windows of the training part of a set of series, to fine-tune on. Every second one hides all after its origin.

    Windows end anywhere in the part, with equal probability for each step of each series.
    """

    def __init__(self, chosen: SeriesSet, shape: Shape, seed: int):
        super().__init__(shape, seed)
        self._set = chosen
        ends = np.cumsum([max(series.validation - 2 * shape.patch, 1) for series in chosen.series])
        self._ends = ends

    def rows(self, rng: np.random.Generator) -> Drawn:
        place_B = rng.integers(self._ends[-1], size=self._shape.batch_size)
        number_B = np.searchsorted(self._ends, place_B, side="right")
        cut = []
        for number, place in zip(number_B, place_B, strict=True):
            series = self._set.series[number]
            end = series.validation - (self._ends[number] - 1 - place)
            cut.append(_cut(series.values_T, series.covariates_TC, end, self._shape.steps))
        return _stacked(cut, self._set)

    def __getitem__(self, index: int) -> Windows:
        batch = super().__getitem__(index)
        shape = self._shape
        rest_BT = np.arange(shape.steps) >= batch.origin_B[:, None]
        whole_B = (np.arange(shape.batch_size) % 2 == 0)[shape.part]
        count = len(whole_B)
        return batch._replace(
            seen_BT=batch.seen_BT & ~(rest_BT & whole_B[:, None]),
            set_B=np.full(count, -1, np.int32),
            error_B=np.zeros(count, np.float32),
            reference_B=np.zeros(count, np.float32),
        )


class ForecastWindows:
    """Random-access source of the windows of a part of sets, each once, in order.

    The horizon of a window follows its context at a multiple of the patch; rows that only fill up the last batch have
    set -1.

    Args:
        sets: what the windows are cut from.
        part: "train", "validation" or "test".
        shape: of the windows; its horizon is at least that of each set.
        reference: name of the forecast that scores are relative to.
    """

    def __init__(self, sets: tuple[SeriesSet, ...], part: str, shape: Shape, reference: str = "seasonal_naive"):
        self._sets, self._shape, self._reference = sets, shape, reference
        self._places = [(number, *place) for number, whole in enumerate(sets) for place in whole.windows(part)]

    def __len__(self) -> int:
        return math.ceil(len(self._places) / self._shape.batch_size)

    def __getitem__(self, index: int) -> Windows:
        shape = self._shape
        places = self._places[index * shape.batch_size : (index + 1) * shape.batch_size][shape.part]
        numbers = range(shape.batch_size)[shape.part]
        cut, scores = [], []
        for number, series_number, start in places:
            whole = self._sets[number]
            series = whole.series[series_number]
            cut.append(_forecast(series.values_T, series.covariates_TC, start, whole.horizon, shape))
            scores.append((number, *whole.scores(series_number, start, self._reference)))
        while len(cut) < len(numbers):
            cut.append(_cut(np.zeros(0), np.zeros((0, cut[0][1].shape[1] if cut else self._width)), 0, shape.steps))
            scores.append((-1, 0.0, 0.0))
        rows = _stacked(cut, self._sets[0])
        origin_B = np.full(len(cut), shape.context)
        batch = windows(rows, np.arange(shape.steps) >= origin_B[:, None], origin_B)
        set_B, error_B, reference_B = (np.array(column) for column in zip(*scores, strict=True))
        return batch._replace(
            set_B=set_B.astype(np.int32), error_B=error_B.astype(np.float32), reference_B=reference_B.astype(np.float32)
        )

    @property
    def _width(self) -> int:
        return len(self._sets[0].future_C)


def _cut(values_T: np.ndarray, covariates_TC: np.ndarray, end: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The `steps` values before `end`, [T] and [T, C]; NaN before the first."""
    first = max(end - steps, 0)
    room = steps - (end - first)
    values = np.pad(values_T[first:end], (room, 0), constant_values=np.nan)
    return values, np.pad(covariates_TC[first:end], ((room, 0), (0, 0)), constant_values=np.nan)


def _forecast(values_T, covariates_TC, start: int, horizon: int, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Context and horizon, with NaN after the horizon."""
    room = shape.horizon - horizon
    past = _cut(values_T, covariates_TC, start, shape.context)
    values = np.concatenate([past[0], values_T[start : start + horizon], np.full(room, np.nan)])
    rest = np.full((room, covariates_TC.shape[1]), np.nan)
    return values, np.concatenate([past[1], covariates_TC[start : start + horizon], rest])


def _stacked(cut: list[tuple[np.ndarray, np.ndarray]], chosen: SeriesSet) -> Drawn:
    values_BT, covariates_BTC = (np.stack(arrays) for arrays in zip(*cut, strict=True))
    future_BC = np.tile(np.array(chosen.future_C, bool), (len(cut), 1)).reshape(len(cut), -1)
    return Drawn(values_BT, np.isfinite(values_BT), covariates_BTC, np.isfinite(covariates_BTC), future_BC)
