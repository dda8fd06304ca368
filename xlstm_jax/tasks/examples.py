"""The base of tasks whose examples are rows of different lengths, all in memory: sentences, series, pairs of texts."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import grain
import numpy as np

from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.sentences import EvaluationSentences, TrainSentences
from xlstm_jax.tasks.base import Task, unknown_split

Examples = tuple[Sequence[np.ndarray], np.ndarray]  # rows, and the label of each


class ExamplesTask(Task):
    """A task with rows for each part of its data, in batches of similar length.

    A subclass defines `_rows` and `_make`. Its config has `batch_size` and `multiple_of`.
    """

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Of each part, "train" among them."""
        raise NotImplementedError

    @property
    def _make(self) -> Callable[..., Any]:
        """What makes a batch of rows, labels and the number of which the padded length is a multiple."""
        raise NotImplementedError

    @property
    def _multiple(self) -> int:
        """The padded length is a multiple of it."""
        return self.config.multiple_of

    @property
    def held_out(self) -> tuple[str, ...]:
        return ("test",) if "test" in self.splits else ()

    @functools.cached_property
    def splits(self) -> dict[str, Examples]:
        return {name: rows for name, rows in self._rows.items() if name != "train"}

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, (rows, labels) in self._rows.items():
            digest.update(name.encode() + labels.tobytes())
            for row in rows:
                digest.update(np.ascontiguousarray(row))
        return digest.hexdigest()

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return dataset(TrainSentences(*self._rows["train"], seed=checked_seed(seed), **self._shape(rows)))

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry  # every row starts from an empty state
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        return dataset(EvaluationSentences(*self._rows[split], **self._shape(rows)))

    def _shape(self, rows: slice) -> dict[str, Any]:
        sizes = {"batch_size": self.config.batch_size, "multiple_of": self._multiple}
        return sizes | {"part": rows, "make": self._make}


def unlabelled(rows: Sequence[np.ndarray]) -> Examples:
    """Rows that hold all there is to learn."""
    return rows, np.zeros(len(rows), np.int32)
