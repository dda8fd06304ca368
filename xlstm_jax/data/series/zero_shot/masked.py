"""Windows of which a forecaster reads a part: random origins, and stretches of patches that are hidden."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
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

    @property
    def scored_BT(self) -> np.ndarray:
        """Which values a forecaster is scored on; of NumPy or jax arrays."""
        step_1T = np.arange(self.known_BT.shape[1], dtype=np.int32)[None]
        return self.known_BT & (self.origin_B[:, None] <= step_1T)


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


def mean_size(batches: Iterable[Windows]) -> float:
    """The mean size of the scored values, standardised: their loss if every quantile is 0."""
    total, count = 0.0, 0
    for batch in batches:
        before_BT = batch.seen_BT & (np.arange(batch.seen_BT.shape[1]) < batch.origin_B[:, None])
        weight_BT, y_BT = before_BT.astype(np.float64), batch.values_BT.astype(np.float64)
        number_B1 = np.maximum(weight_BT.sum(axis=1, keepdims=True), 1)
        mean_B1 = (weight_BT * y_BT).sum(axis=1, keepdims=True) / number_B1
        std_B1 = np.sqrt((weight_BT * (y_BT - mean_B1) ** 2).sum(axis=1, keepdims=True) / number_B1)
        size_BT = np.abs(np.arcsinh((y_BT - mean_B1) / np.where(std_B1 > 0, std_B1, 1)))
        total, count = total + size_BT[batch.scored_BT].sum(), count + batch.scored_BT.sum()
    return float(total / count)
