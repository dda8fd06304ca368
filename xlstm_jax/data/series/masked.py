"""Windows of which a forecaster reads a part: training windows with hidden stretches, and those it is scored on."""

import math
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.series.benchmark import SeriesSet
from xlstm_jax.data.series.synthetic.augment import drawn, observed
from xlstm_jax.data.series.synthetic.covariates import with_effects

LONGEST_RUN = 6  # patches hidden in a row
MOST_HIDDEN = 0.2  # share of patches at which a hidden stretch begins, at most
EARLY = 0.5  # share of windows with an early origin


class Windows(NamedTuple):
    """A batch of windows of T steps, with C covariates; unknown values are 0.

    A forecaster reads the values that are `seen_BT`, and is scored on those that are known, from `origin_B` on.
    """

    values_BT: np.ndarray  # float32
    known_BT: np.ndarray  # bool: the value is known
    seen_BT: np.ndarray  # bool: the model reads the value
    origin_B: np.ndarray  # int32: the scale of a row is that of the values seen before this step
    covariates_BTC: np.ndarray  # float32
    covariates_seen_BTC: np.ndarray  # bool: the model reads the covariate
    future_BC: np.ndarray  # bool: the covariate is known a patch ahead
    set_B: np.ndarray | None = None  # int32: number of the data set, -1 for rows that only fill up a batch
    error_B: np.ndarray | None = None  # float32: scale of the MASE; 0 where there is none
    reference_B: np.ndarray | None = None  # float32: mean absolute error of the reference forecast


class Shape(NamedTuple):
    """Sizes of the windows of a source."""

    batch_size: int  # rows of the global batch
    part: slice  # the rows of each global batch that this process reads
    context: int  # steps before the last possible origin
    horizon: int  # steps after it
    patch: int  # steps that are read at once; context and horizon are multiples

    @property
    def steps(self) -> int:
        return self.context + self.horizon


class Drawn(NamedTuple):
    """Rows before anything is hidden, float64 and bool."""

    values_BT: np.ndarray
    known_BT: np.ndarray
    covariates_BTC: np.ndarray
    given_BTC: np.ndarray  # the covariate is there at all
    future_BC: np.ndarray


class TrainWindows:
    """Endless random-access source of windows whose origins are random and in which stretches of patches are hidden.

    That is contiguous patch masking (Auer et al. 2025, arXiv 2505.23719): the model learns to forecast over patches
    that it does not read. A subclass draws the rows.
    """

    def __init__(self, shape: Shape, seed: int):
        self._shape, self._seed = shape, seed

    def __len__(self) -> int:
        return ENDLESS

    def rows(self, rng: np.random.Generator) -> Drawn:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Windows:
        rng, shape = generator(self._seed, index), self._shape
        rows = self.rows(rng)
        origin_B = origins(rng, rows.known_BT, shape.patch)
        hidden_BT = hidden(rng, shape.batch_size, shape.steps // shape.patch, shape.patch)
        return self.finished(windows(rows, hidden_BT, origin_B))

    def finished(self, batch: Windows) -> Windows:
        """The rows of this process."""
        return Windows(*(None if array is None else array[self._shape.part] for array in batch))


class SyntheticWindows(TrainWindows):
    """Windows of a bank of synthetic series, mixed and changed.

    Args:
        bank_NT: series of more steps than a window has.
        shape: of the windows.
        seed: of all random choices.
        covariates: C.
        share: fraction of rows with covariates.
    """

    def __init__(self, bank_NT: np.ndarray, shape: Shape, seed: int, *, covariates: int, share: float):
        super().__init__(shape, seed)
        self._bank_NT, self._covariates, self._share = bank_NT, covariates, share

    def rows(self, rng: np.random.Generator) -> Drawn:
        count, steps, number = self._shape.batch_size, self._shape.steps, self._covariates
        values_BT = drawn(rng, self._bank_NT, count, steps)
        covariates_BTC, future_BC = np.zeros((count, steps, number)), np.zeros((count, number), bool)
        given_BTC = np.zeros((count, steps, number), bool)
        if number:
            rows = np.flatnonzero(rng.random(count) < self._share)
            added = with_effects(rng, self._bank_NT, len(rows), steps, number)
            values_BT[rows] += added.effect_BT
            covariates_BTC[rows], future_BC[rows], given_BTC[rows] = added.values_BTC, added.future_BC, True
        return Drawn(values_BT, observed(rng, count, steps), covariates_BTC, given_BTC, future_BC)


class SyntheticForecasts(SyntheticWindows):
    """Finitely many windows of synthetic series, of which the whole horizon is to be forecast."""

    def __init__(self, *args, length: int, **options):
        super().__init__(*args, **options)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Windows:
        shape = self._shape
        rows = self.rows(generator(self._seed, index))
        origin_B = np.full(shape.batch_size, shape.context)
        return self.finished(windows(rows, np.arange(shape.steps) >= origin_B[:, None], origin_B))


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


def origins(rng: np.random.Generator, known_BT: np.ndarray, patch: int) -> np.ndarray:
    """[B]: the first step of a random patch, at least two patches after the row's first value.

    The later the origin, the less is scored, and the better is the scale. A part of the origins is even on a
    logarithmic scale of the patches since the row began, the others are even.
    """
    patches = known_BT.shape[1] // patch
    begun_B = np.argmax(known_BT, axis=1) // patch
    room_B = np.maximum(patches - 1 - begun_B, 1)
    share_B = rng.random(len(begun_B))
    early_B = rng.random(len(begun_B)) < EARLY
    away_B = np.where(early_B, np.exp(share_B * np.log(room_B + 1)), share_B * (room_B + 1)).astype(np.int64)
    return np.clip(begun_B + away_B, np.minimum(begun_B + 2, patches - 1), patches - 1) * patch


def hidden(rng: np.random.Generator, count: int, patches: int, patch: int) -> np.ndarray:
    """[B, T] bools: runs of 1 to `LONGEST_RUN` patches that the model does not read, few or many in a row."""
    share_B1 = rng.uniform(0, MOST_HIDDEN, (count, 1))
    begins_BP = rng.random((count, patches)) < share_B1
    length_BP = rng.integers(1, LONGEST_RUN + 1, (count, patches))
    hidden_BP = np.zeros((count, patches), bool)
    for away in range(LONGEST_RUN):
        hidden_BP[:, away:] |= (begins_BP & (length_BP > away))[:, : patches - away]
    return np.repeat(hidden_BP, patch, axis=1)


def windows(rows: Drawn, hidden_BT: np.ndarray, origin_B: np.ndarray) -> Windows:
    """The batch; covariates that are not known ahead are hidden where the target is."""
    covariates_seen_BTC = rows.given_BTC & (rows.future_BC[:, None] | ~hidden_BT[..., None])
    return Windows(
        np.where(rows.known_BT, rows.values_BT, 0).astype(np.float32),
        rows.known_BT,
        rows.known_BT & ~hidden_BT,
        np.asarray(origin_B, np.int32),
        np.where(covariates_seen_BTC, rows.covariates_BTC, 0).astype(np.float32),
        covariates_seen_BTC,
        rows.future_BC,
    )
