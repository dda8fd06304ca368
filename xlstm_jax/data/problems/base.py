"""Batches drawn from a problem's definition. As for texts, a batch is a pure function of the seed and its index."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from xlstm_jax.data.batches import generator

# Seeds of evaluation splits start here, far above the seed of any run.
EVALUATION_SEED = 2**62


class Rows(NamedTuple):
    """Sequences with targets at some of their steps."""

    inputs_BT: np.ndarray  # tokens, int32, or real numbers [B, T, F], float32
    targets_BT: np.ndarray  # tokens, int32, or real numbers, float32
    mask_BT: np.ndarray  # bool, true where the target counts; elsewhere the target is 0
    lengths_B: np.ndarray | None = None  # int32, steps of each row, 0-padded; None: all rows have T steps


class Problem(Protocol):
    """A distribution of rows."""

    length: int  # T, steps of a row

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        """Draws `count` rows, as `Rows` or as another named tuple of arrays over rows."""


def chosen(rows: Any, index: Any) -> Any:
    """Selects rows by index; a field that is None stays None."""
    return rows._make(None if array is None else array[index] for array in rows)


class GeneratedBatches:
    """Random-access source. Item b has the given rows of batch b."""

    def __init__(self, problem: Problem, length: int, *, batch_size: int, seed: int, rows: slice):
        self._problem, self._length = problem, length
        self._batch_size, self._seed, self._rows = batch_size, seed, rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Rows:
        return chosen(self._problem.rows(generator(self._seed, index), self._batch_size), self._rows)


class FixedRows:
    """A problem with a fixed set of rows. Training draws from them; evaluation reads each once, in order."""

    def __init__(self, rows: Rows):
        self.all, self.length = rows, rows.mask_BT.shape[1]

    def __len__(self) -> int:
        return len(self.all.mask_BT)

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        return chosen(self.all, rng.integers(len(self), size=count))


class FixedBatches:
    """Random-access source of all rows of a `FixedRows` in order. Masked rows fill up the last batch."""

    def __init__(self, problem: FixedRows, *, batch_size: int, rows: slice):
        self._problem, self._batch_size, self._rows = problem, batch_size, rows

    def __len__(self) -> int:
        return -(-len(self._problem) // self._batch_size)

    def __getitem__(self, index: int) -> Rows:
        wanted_B = (index * self._batch_size + np.arange(self._batch_size))[self._rows]
        there_B = wanted_B < len(self._problem)
        batch = chosen(self._problem.all, np.where(there_B, wanted_B, 0))
        return batch._replace(mask_BT=batch.mask_BT & there_B[:, None])


def empty_rows(count: int, length: int) -> Rows:
    """All-zero rows without targets, for the caller to fill in."""
    inputs_BT, targets_BT = np.zeros((2, count, length), np.int32)
    return Rows(inputs_BT, targets_BT, np.zeros((count, length), bool))


def next_tokens(prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray], length: int) -> Rows:
    """Rows that read each prompt and its answer and predict the answer, token by token.

    The step that reads the prompt's last token predicts the answer's first token. The answer's last token is not read.
    Zeros pad each row to `length`.
    """
    rows = empty_rows(len(prompts), length)
    lengths_B = np.zeros(len(prompts), np.int32)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        first, end = len(prompt) - 1, len(prompt) + len(answer) - 1
        rows.inputs_BT[row, : first + 1] = prompt
        rows.inputs_BT[row, first + 1 : end] = answer[:-1]
        rows.targets_BT[row, first:end] = answer
        rows.mask_BT[row, first:end] = True
        lengths_B[row] = end
    return rows._replace(lengths_B=lengths_B)


def shortest_steps(length: int) -> int:
    """T for rows of T to T + T/10 = `length` steps, as in the tasks of 1997; 100 for length 110."""
    return length - length // 11


def answered_last(inputs: np.ndarray, steps_B: np.ndarray, answers_B: np.ndarray) -> Rows:
    """Rows with one target, at the last of their `steps_B` steps.

    Args:
        inputs: tokens [B, T] or real numbers [B, T, F]; set to zero in place after each row's last step.
        steps_B: ints, 1 to T.
        answers_B: targets, of any dtype.
    """
    count, length = inputs.shape[:2]
    place_BT = np.arange(length) - (steps_B[:, None] - 1)  # 0 at the last step
    outside_BT, mask_BT = place_BT > 0, place_BT == 0
    inputs[outside_BT] = 0
    targets_BT = np.zeros((count, length), answers_B.dtype)
    targets_BT[mask_BT] = answers_B
    return Rows(inputs, targets_BT, mask_BT, steps_B.astype(np.int32))
