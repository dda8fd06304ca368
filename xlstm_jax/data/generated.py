"""Batches drawn from a problem's definition: a pure function of the seed and the batch's index, as those of texts."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from xlstm_jax.data.batches import Batch, generator

# Seeds of evaluation splits lie beyond those of runs that anyone would number.
EVALUATION_SEED = 2**62


class Problem(Protocol):
    """What rows are drawn from."""

    length: int  # T, steps of a row

    def rows(self, rng: np.random.Generator, count: int) -> Batch:
        """That many rows; `tokens_BT` may be real [B, T, F], `targets_BT` real too."""


class GeneratedBatches:
    """Random-access source whose item b is the given rows of batch b."""

    def __init__(self, problem: Problem, length: int, *, batch_size: int, seed: int, rows: slice):
        self._problem, self._length = problem, length
        self._batch_size, self._seed, self._rows = batch_size, seed, rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        batch = self._problem.rows(generator(self._seed, index), self._batch_size)
        return batch._make(array[self._rows] for array in batch)


class FixedRows:
    """A problem whose rows are given: training draws among them, evaluation reads each once, in order."""

    def __init__(self, batch: Batch):
        self.batch, self.length = batch, batch.mask_BT.shape[1]

    def __len__(self) -> int:
        return len(self.batch.mask_BT)

    def rows(self, rng: np.random.Generator, count: int) -> Batch:
        drawn_B = rng.integers(len(self), size=count)
        return self.batch._make(array[drawn_B] for array in self.batch)


class FixedBatches:
    """Random-access source of all rows of a `FixedRows` in order; rows that fill up the last batch are masked."""

    def __init__(self, problem: FixedRows, *, batch_size: int, rows: slice):
        self._problem, self._batch_size, self._rows = problem, batch_size, rows

    def __len__(self) -> int:
        return -(-len(self._problem) // self._batch_size)

    def __getitem__(self, index: int) -> Batch:
        wanted_B = (index * self._batch_size + np.arange(self._batch_size))[self._rows]
        there_B = wanted_B < len(self._problem)
        batch = self._problem.batch
        batch = batch._make(array[np.where(there_B, wanted_B, 0)] for array in batch)
        return batch._replace(mask_BT=batch.mask_BT & there_B[:, None])


def empty_rows(count: int, length: int) -> Batch:
    """Rows of zeros with no target, each of which starts afresh; to be filled in."""
    tokens_BT, targets_BT = np.zeros((2, count, length), np.int32)
    mask_BT, reset_BT = np.zeros((2, count, length), bool)
    reset_BT[:, 0] = True
    return Batch(tokens_BT, targets_BT, mask_BT, reset_BT)


def next_tokens(prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray], length: int) -> Batch:
    """Rows that read each prompt and then its answer, and predict the answer alone, token after token.

    The step that reads the prompt's last token predicts the answer's first one; the answer's last token is not read.
    After it there are zeros up to `length`.
    """
    batch = empty_rows(len(prompts), length)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        first, end = len(prompt) - 1, len(prompt) + len(answer) - 1
        batch.tokens_BT[row, : first + 1] = prompt
        batch.tokens_BT[row, first + 1 : end] = answer[:-1]
        batch.targets_BT[row, first:end] = answer
        batch.mask_BT[row, first:end] = True
    return batch


def shortest_steps(length: int) -> int:
    """T of rows with T to T + T/10 steps, `length` at most: the lengths of the tasks of 1997, 100 where it is 110."""
    return length - length // 11


def answered_last(tokens: np.ndarray, steps_B: np.ndarray, answers_B: np.ndarray) -> Batch:
    """Rows of so many steps each, whose last one is answered; after it there are zeros.

    Args:
        tokens: [B, T], or real [B, T, F].
        steps_B: ints, 1 to T.
        answers_B: targets, of any dtype.
    """
    count, length = tokens.shape[:2]
    place_BT = np.arange(length) - (steps_B[:, None] - 1)  # 0 at the last step
    outside_BT, mask_BT = place_BT > 0, place_BT == 0
    tokens[outside_BT] = 0
    targets_BT = np.zeros((count, length), answers_B.dtype)
    targets_BT[mask_BT] = answers_B
    return empty_rows(count, length)._replace(tokens_BT=tokens, targets_BT=targets_BT, mask_BT=mask_BT)
