"""The base of tasks whose rows come from a problem for each split."""

import functools

import grain

from xlstm_jax.data.batches import ALL_ROWS, ENDLESS, checked_seed, dataset
from xlstm_jax.data.problems.base import EVALUATION_SEED, FixedBatches, FixedRows, GeneratedBatches, Problem
from xlstm_jax.tasks.base import Task, unknown_split


class RowsTask(Task):
    """A task with a `Problem` for each split, "train" among them. Each row starts from an empty state.

    Training draws rows without end. Of each other split, `evaluation_batches` batches are drawn, the same in every run;
    for a problem with `FixedRows`, each row is scored once. A subclass defines `_problems`.
    """

    @functools.cached_property
    def _problems(self) -> dict[str, Problem]:
        """By the name of the split."""
        raise NotImplementedError

    @functools.cached_property
    def splits(self) -> dict[str, Problem]:
        return {name: problem for name, problem in self._problems.items() if name != "train"}

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return self._dataset("train", ENDLESS, checked_seed(seed), rows)

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry  # every row starts from an empty state
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        problem = self.splits[split]
        if isinstance(problem, FixedRows):
            return dataset(FixedBatches(problem, batch_size=self.config.batch_size, rows=rows))
        seed = EVALUATION_SEED + tuple(self.splits).index(split)
        return self._dataset(split, self.config.evaluation_batches, seed, rows)

    def _dataset(self, split: str, length: int, seed: int, rows: slice) -> grain.IterDataset:
        size = self.config.batch_size
        return dataset(GeneratedBatches(self._problems[split], length, batch_size=size, seed=seed, rows=rows))
