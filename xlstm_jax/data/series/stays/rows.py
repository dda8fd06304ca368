"""Encoded stays: the folds of a cross-validation, and batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.parts import fold_of
from xlstm_jax.errors import UsageError

FOLDS = 5  # parts of all stays


class Stays(NamedTuple):
    """A batch of stays."""

    inputs_BTD: np.ndarray  # float32, D = 3 F: values, mask and gaps of the F variables, as in `StayCodec.encode`
    died_B: np.ndarray  # float32, 1 for a death in hospital
    lengths_B: np.ndarray  # int32, 0 in rows that only fill up a batch
    row_B: np.ndarray  # int32, the stay's number among all stays


def fold_parts(died_N: np.ndarray, fold: int) -> dict[str, np.ndarray]:
    """Numbers of the stays of each split of a fold, a fifth of all for testing; see `data.parts.fold_of`.

    Raises:
        UsageError: a split has no death, or only deaths.
    """
    parts = fold_of(died_N, fold, FOLDS)
    for name, part in parts.items():
        if len(set(died_N[part].tolist())) < 2:
            raise UsageError(
                f"split {name!r} of fold {fold} has {int(died_N[part].sum())} deaths among {len(part)} stays; "
                f"give at least {2 * FOLDS} stays with In-hospital_death 1, and {2 * FOLDS} with 0"
            )
    return parts


class StayRows(NamedTuple):
    """All stays, encoded."""

    inputs_NTD: np.ndarray
    died_N: np.ndarray

    def batch(self, row_B: np.ndarray) -> Stays:
        """The stays with these numbers; -1 stands for a row that only fills up the batch."""
        there_B = row_B >= 0
        lengths_B = np.where(there_B, self.inputs_NTD.shape[1], 0).astype(np.int32)
        died_B = self.died_N[row_B].astype(np.float32) * there_B
        inputs_BTD = self.inputs_NTD[row_B] * there_B[:, None, None].astype(np.float32)
        return Stays(inputs_BTD, died_B, lengths_B, np.where(there_B, row_B, len(self.died_N)).astype(np.int32))


class TrainStays:
    """Endless random-access source. Each epoch has every stay once, in random order, but for those that fill no batch.

    Args:
        rows: all stays.
        chosen: the numbers of those to read.
        batch_size: rows of the global batch.
        seed: of the order.
        part: the rows of each global batch that this process reads.

    Raises:
        UsageError: there are fewer stays than fill one batch.
    """

    def __init__(self, rows: StayRows, chosen: np.ndarray, *, batch_size: int, seed: int, part: slice):
        if len(chosen) < batch_size:
            raise UsageError(f"data.batch_size {batch_size} is more than the {len(chosen)} training stays; lower it")
        self._rows, self._chosen, self._size = rows, chosen, batch_size
        self._seed, self._part = seed, part

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Stays:
        epoch, number = divmod(index, len(self._chosen) // self._size)
        order = generator(self._seed, epoch).permutation(self._chosen)
        return self._rows.batch(order[number * self._size : (number + 1) * self._size][self._part])


class EvaluationStays:
    """Random-access source of stays in order, each once. Empty rows fill up the last batch."""

    def __init__(self, rows: StayRows, chosen: Sequence[int], *, batch_size: int, part: slice):
        self._rows, self._size, self._part = rows, batch_size, part
        self._numbers = np.pad(chosen, (0, -len(chosen) % batch_size), constant_values=-1)

    def __len__(self) -> int:
        return len(self._numbers) // self._size

    def __getitem__(self, index: int) -> Stays:
        return self._rows.batch(self._numbers[index * self._size : (index + 1) * self._size][self._part])
