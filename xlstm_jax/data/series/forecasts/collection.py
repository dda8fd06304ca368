"""Windows of a collection of series of different lengths: each window's history, and what follows it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator


class Histories(NamedTuple):
    """A batch of rows, each a time within a series."""

    past_BT: np.ndarray  # float32, the series up to the present, at the right end; 0 before its start
    start_B: np.ndarray  # int32, the time of the first column: 0 is the start of the series, negative before it
    series_B: np.ndarray  # int32, the number of the series; a larger one for a series that is not of the collection
    scale_B: np.ndarray  # float32, unit of errors
    reference_BM: np.ndarray  # float32, sMAPE and MASE of the reference forecast
    future_BH: np.ndarray  # float32
    scored_B: np.ndarray  # bool, false for rows that only fill up a batch


class Collection:
    """Series with, for each, the unit of its errors.

    Args:
        series: of at least one value each.
        scale_S: float64.
        most: columns of `Histories.past_BT`; values further back are left out.
        horizon: steps to forecast.
    """

    def __init__(self, series: Sequence[np.ndarray], scale_S: np.ndarray, *, most: int, horizon: int):
        self.series, self.scale_S, self._most, self.horizon = series, scale_S, most, horizon

    def histories(self, series_B: np.ndarray, present_B: np.ndarray) -> Histories:
        """Rows of the given series, with the future from their presents on where it is known, else 0."""
        past_BT = np.zeros((len(series_B), self._most), np.float32)
        future_BH = np.zeros((len(series_B), self.horizon), np.float32)
        for past_T, future_H, number, present in zip(past_BT, future_BH, series_B, present_B, strict=True):
            values = self.series[number]
            seen = values[max(0, present - self._most) : present]
            past_T[self._most - len(seen) :] = seen
            later = values[present : present + self.horizon]
            future_H[: len(later)] = later
        start_B = (present_B - self._most).astype(np.int32)
        scale_B = self.scale_S[series_B].astype(np.float32)
        empty, scored = np.zeros((len(series_B), 2), np.float32), np.ones(len(series_B), bool)
        return Histories(past_BT, start_B, series_B.astype(np.int32), scale_B, empty, future_BH, scored)


class TrainHistories:
    """Endless random-access source: each row is of a random series at a random time.

    Series are drawn evenly, whatever their lengths, as they count in the score.

    Args:
        collection: the series.
        first, last_S: earliest and latest present, [S] the latter.
        batch_size: rows of the global batch.
        seed: of the draws.
        part: the rows of each global batch that this process reads.
    """

    def __init__(
        self, collection: Collection, first: int, last_S: np.ndarray, *, batch_size: int, seed: int, part: slice
    ):
        self._collection, self._first, self._last_S = collection, first, last_S
        self._size, self._seed, self._part = batch_size, seed, part

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Histories:
        rng = generator(self._seed, index)
        series_B = rng.integers(len(self._last_S), size=self._size)
        present_B = rng.integers(self._first, self._last_S[series_B] + 1)
        return self._collection.histories(series_B[self._part], present_B[self._part])


class EvaluationHistories:
    """Random-access source of one row per series. The last series is repeated to fill up a batch, unscored.

    Args:
        collection: the series.
        present_S: the present of each.
        reference_SM: sMAPE and MASE of the reference forecast.
        batch_size: rows of the global batch.
        part: the rows of each global batch that this process reads.
    """

    def __init__(self, collection: Collection, present_S, reference_SM, *, batch_size: int, part: slice):
        self._collection, self._present_S, self._reference_SM = collection, present_S, reference_SM
        self._size, self._part = batch_size, part

    def __len__(self) -> int:
        return math.ceil(len(self._present_S) / self._size)

    def __getitem__(self, index: int) -> Histories:
        number_B = np.arange(index * self._size, (index + 1) * self._size)[self._part]
        series_B = np.minimum(number_B, len(self._present_S) - 1)
        batch = self._collection.histories(series_B, self._present_S[series_B])
        reference_BM = self._reference_SM[series_B].astype(np.float32)
        return batch._replace(reference_BM=reference_BM, scored_B=number_B < len(self._present_S))
