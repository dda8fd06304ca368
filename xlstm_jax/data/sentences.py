"""Batches of labelled sentences of similar length."""

import functools
import math
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.codecs import padded
from xlstm_jax.errors import UsageError

POOL = 50  # batches per pool; rows are sorted by length within a pool


class Sentences(NamedTuple):
    """A batch of labelled sentences."""

    tokens_BT: np.ndarray  # int32, 0 in the padding
    label_B: np.ndarray  # int32
    lengths_B: np.ndarray  # int32, 0 in padding rows


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Sentences:
    """Pads rows to the longest length, rounded up to a multiple so that few shapes are compiled."""
    tokens_BT, lengths_B = padded(rows, multiple_of=multiple_of)
    return Sentences(tokens_BT, labels.astype(np.int32), lengths_B)


class TrainSentences:
    """Endless random-access source. Each epoch has every row once, in batches of similar length, in random order.

    An epoch leaves out the rows that do not fill its last batch.

    Args:
        rows, labels: all examples.
        batch_size: rows of the global batch.
        seed: of the order.
        part: the rows of each global batch that this process reads.
        multiple_of: the padded length is a multiple of it.

    Raises:
        UsageError: there are fewer rows than fill one batch.
    """

    def __init__(
        self, rows: list[np.ndarray], labels: np.ndarray, *, batch_size: int, seed: int, part: slice, multiple_of: int
    ):
        if len(rows) < batch_size:
            raise UsageError(f"data.batch_size {batch_size} is more than the {len(rows)} training examples; lower it")
        self._rows, self._labels, self._seed = rows, labels, seed
        self._size, self._part, self._multiple = batch_size, part, multiple_of
        self._length_N = np.array([len(row) for row in rows])
        self._order = functools.lru_cache(maxsize=2)(self._draw)

    def __len__(self) -> int:
        return ENDLESS

    def _draw(self, epoch: int) -> np.ndarray:
        """Indices [batches, B] of the rows in each batch of the epoch."""
        rng = generator(self._seed, epoch)
        order_N = rng.permutation(len(self._rows))
        count = len(order_N) // self._size
        order_N = order_N[: count * self._size]
        for start in range(0, len(order_N), POOL * self._size):
            pool = order_N[start : start + POOL * self._size]
            pool[:] = pool[np.argsort(self._length_N[pool], kind="stable")]
        return rng.permutation(order_N.reshape(count, self._size))

    def __getitem__(self, index: int) -> Sentences:
        epoch, number = divmod(index, len(self._rows) // self._size)
        chosen = self._order(epoch)[number]
        whole = batch_of([self._rows[n] for n in chosen], self._labels[chosen], self._multiple)
        return Sentences(*(array[self._part] for array in whole))


class EvaluationSentences:
    """Random-access source of all rows once, shortest first. Empty rows fill up the last batch."""

    def __init__(self, rows: list[np.ndarray], labels: np.ndarray, *, batch_size: int, part: slice, multiple_of: int):
        self._order_N = np.argsort([len(row) for row in rows], kind="stable")
        self._rows, self._labels = rows, labels
        self._size, self._part, self._multiple = batch_size, part, multiple_of

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._size)

    def __getitem__(self, index: int) -> Sentences:
        chosen = self._order_N[index * self._size : (index + 1) * self._size]
        missing = self._size - len(chosen)
        rows = [self._rows[n] for n in chosen] + [np.zeros(0, np.int32)] * missing
        whole = batch_of(rows, np.pad(self._labels[chosen], (0, missing)), self._multiple)
        return Sentences(*(array[self._part] for array in whole))
