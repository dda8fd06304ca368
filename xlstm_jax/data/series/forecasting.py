"""Batches for forecasters: windows of series with what is known, what the model reads, and what it is to forecast."""

from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.series.synthetic.augment import drawn, observed
from xlstm_jax.data.series.synthetic.covariates import with_effects

LONGEST_RUN = 6  # patches hidden in a row
LEAST_SEEN = 8  # values of a row that its scale comes from


class Windows(NamedTuple):
    """A batch of windows of T steps, with C covariates; unknown values are 0.

    What a forecaster may read are the values that are `seen_BT`, and what it is scored on are the values that are known,
    from `origin_B` on.
    """

    values_BT: np.ndarray  # float32
    known_BT: np.ndarray  # bool: the value is known
    seen_BT: np.ndarray  # bool: the model reads the value
    origin_B: np.ndarray  # int32: the scale of a row is that of the values seen before this step
    covariates_BTC: np.ndarray  # float32
    covariates_seen_BTC: np.ndarray  # bool: the model reads the covariate
    future_BC: np.ndarray  # bool: the covariate is known a patch ahead
    set_B: np.ndarray  # int32: number of the data set, for scores by data set
    error_B: np.ndarray  # float32: mean absolute error of the seasonal naive forecast within the context; 0: unknown


class SyntheticWindows:
    """Random-access source of training batches from a bank of synthetic series.

    Args:
        bank_NT: series of more steps than a window has.
        batch_size: rows of the global batch.
        seed: of all random choices.
        part: the rows of each global batch that this process reads.
        steps: T of a window, a multiple of `patch`.
        patch: steps of a patch.
        covariates: C.
        covariates_share: fraction of rows with covariates.
        horizon: 0: the origin is random, and stretches of patches are hidden (contiguous patch masking, Auer et al.
            2025); otherwise the number of last steps that are to be forecast, all of them hidden.
        length: number of batches.
    """

    def __init__(
        self,
        bank_NT: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        part: slice,
        steps: int,
        patch: int,
        covariates: int,
        covariates_share: float,
        horizon: int = 0,
        length: int = ENDLESS,
    ):
        self._bank_NT, self._size, self._seed, self._part = bank_NT, batch_size, seed, part
        self._steps, self._patch, self._covariates, self._share = steps, patch, covariates, covariates_share
        self._horizon, self._length = horizon, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Windows:
        rng = generator(self._seed, index)
        count, steps, number = self._size, self._steps, self._covariates
        values_BT = drawn(rng, self._bank_NT, count, steps)
        covariates_BTC, future_BC = np.zeros((count, steps, number)), np.zeros((count, number), bool)
        with_BC = np.zeros((count, number), bool)
        if number:
            rows = np.flatnonzero(rng.random(count) < self._share)
            added = with_effects(rng, self._bank_NT, len(rows), steps, number)
            values_BT[rows] += added.effect_BT
            covariates_BTC[rows], future_BC[rows], with_BC[rows] = added.values_BTC, added.future_BC, True
        known_BT = observed(rng, count, steps)
        if self._horizon:
            origin_B = np.full(count, steps - self._horizon)
            hidden_BT = np.arange(steps) >= origin_B[:, None]
        else:
            origin_B, hidden_BT = self._origins(rng, known_BT), hidden(rng, count, steps // self._patch, self._patch)
        whole = windows(values_BT, known_BT, hidden_BT, origin_B, covariates_BTC, with_BC, future_BC)
        return Windows(*(array[self._part] for array in whole))

    def _origins(self, rng: np.random.Generator, known_BT: np.ndarray) -> np.ndarray:
        """[B]: a random patch's first step, after the row has begun."""
        patches = self._steps // self._patch
        begun_B = np.argmax(known_BT, axis=1) // self._patch
        least_B = np.minimum(begun_B + 2, patches - 1)
        # In half of the rows even on a logarithmic scale of the steps since the row began: the later the origin, the
        # less is scored.
        room_B = np.maximum(patches - 1 - begun_B, 1)
        share_B = rng.random(len(begun_B))
        early_B = rng.random(len(begun_B)) < 0.5
        drawn_B = begun_B + np.where(early_B, np.exp(share_B * np.log(room_B)), share_B * room_B).astype(np.int64)
        return np.clip(drawn_B, least_B, patches - 1) * self._patch


def hidden(rng: np.random.Generator, count: int, patches: int, patch: int) -> np.ndarray:
    """[B, T] bools: runs of 1 to `LONGEST_RUN` patches that the model does not read, in rows from few to many."""
    share_B1 = rng.uniform(0, 0.2, (count, 1))
    begins_BP = rng.random((count, patches)) < share_B1
    length_BP = rng.integers(1, LONGEST_RUN + 1, (count, patches))
    hidden_BP = np.zeros((count, patches), bool)
    for away in range(LONGEST_RUN):
        hidden_BP[:, away:] |= (begins_BP & (length_BP > away))[:, : patches - away]
    return np.repeat(hidden_BP, patch, axis=1)


def windows(
    values_BT: np.ndarray,
    known_BT: np.ndarray,
    hidden_BT: np.ndarray,
    origin_B: np.ndarray,
    covariates_BTC: np.ndarray,
    with_BC: np.ndarray,
    future_BC: np.ndarray,
    set_B: np.ndarray | None = None,
    error_B: np.ndarray | None = None,
) -> Windows:
    """The batch; covariates that are not known ahead are hidden where the target is."""
    count = len(values_BT)
    seen_BT = known_BT & ~hidden_BT
    covariates_seen_BTC = with_BC[:, None] & (future_BC[:, None] | ~hidden_BT[..., None])
    return Windows(
        np.where(known_BT, values_BT, 0).astype(np.float32),
        known_BT,
        seen_BT,
        np.asarray(origin_B, np.int32),
        np.where(covariates_seen_BTC, covariates_BTC, 0).astype(np.float32),
        covariates_seen_BTC,
        future_BC,
        np.zeros(count, np.int32) if set_B is None else np.asarray(set_B, np.int32),
        np.zeros(count, np.float32) if error_B is None else np.asarray(error_B, np.float32),
    )
