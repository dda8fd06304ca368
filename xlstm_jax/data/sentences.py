"""Batches of labelled sentences, or of other labelled rows, of similar length."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
    bilm_BTW: np.ndarray | None = None  # int32, the words as a biLM reads them: `data.words.Lexicon.encode`


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Sentences:
    """Pads rows to the longest length, rounded up to a multiple so that few shapes are compiled."""
    tokens_BT, lengths_B = padded(rows, multiple_of=multiple_of)
    return Sentences(tokens_BT, labels.astype(np.int32), lengths_B)


def batch_with_bilm(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Sentences:
    """`batch_of` for rows [T, 1 + W]: a token, and the word as a biLM reads it."""
    array_BTF, lengths_B = padded(rows, multiple_of=multiple_of)
    return Sentences(array_BTF[..., 0], labels.astype(np.int32), lengths_B, array_BTF[..., 1:])


class TrainSentences:
    """Endless random-access source. Each epoch has every row once, in batches of similar length, in random order.

    An epoch leaves out the rows that do not fill its last batch.

    Args:
        rows, labels: all examples; a row is tokens [T], or real numbers [T, C].
        batch_size: rows of the global batch.
        seed: of the order.
        part: the rows of each global batch that this process reads.
        multiple_of: the padded length is a multiple of it.
        make: what makes a batch of rows, labels and `multiple_of`: a named tuple like `Sentences`.

    Raises:
        UsageError: there are fewer rows than fill one batch.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        labels: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        part: slice,
        multiple_of: int,
        make: Callable[..., Any] = batch_of,
    ):
        if len(rows) < batch_size:
            raise UsageError(f"data.batch_size {batch_size} is more than the {len(rows)} training examples; lower it")
        self._rows, self._labels, self._seed = rows, labels, seed
        self._size, self._part, self._multiple, self._make = batch_size, part, multiple_of, make
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

    def __getitem__(self, index: int) -> Any:
        epoch, number = divmod(index, len(self._rows) // self._size)
        chosen = self._order(epoch)[number]
        whole = self._make([self._rows[n] for n in chosen], self._labels[chosen], self._multiple)
        return _rows(whole, self._part)


class EvaluationSentences:
    """Random-access source of all rows once, shortest first. Empty rows fill up the last batch."""

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        labels: np.ndarray,
        *,
        batch_size: int,
        part: slice,
        multiple_of: int,
        make: Callable[..., Any] = batch_of,
    ):
        self._order_N = np.argsort([len(row) for row in rows], kind="stable")
        self._rows, self._labels = rows, labels
        self._size, self._part, self._multiple, self._make = batch_size, part, multiple_of, make

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._size)

    def __getitem__(self, index: int) -> Any:
        chosen = self._order_N[index * self._size : (index + 1) * self._size]
        missing = self._size - len(chosen)
        rows = [self._rows[n] for n in chosen] + [self._rows[0][:0]] * missing
        whole = self._make(rows, np.pad(self._labels[chosen], (0, missing)), self._multiple)
        return _rows(whole, self._part)


def _rows(batch: Any, part: slice) -> Any:
    """Some rows of a batch, whose fields that it lacks are None."""
    return batch._make(None if array is None else array[part] for array in batch)
