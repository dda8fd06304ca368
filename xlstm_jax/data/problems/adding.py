"""The adding problem: remember two real numbers among many (Hochreiter & Schmidhuber 1997, experiment 4)."""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, answered_last, shortest_steps

FIRST = 10  # the first mark is at one of the first 10 steps
TOLERANCE = 0.04  # an answer is correct if its error is smaller


@dataclasses.dataclass(frozen=True)
class Adding:
    """Rows of T to T + T/10 steps. Each step reads a number and a marker.

    Numbers are uniform in [-1, 1]. One of the first 10 steps is marked, then one of the first T/2 - 1 unmarked steps.
    The marker is 1 at both and 0 elsewhere, but always -1 at a row's first and last step. The last step's target is
    0.5 + (sum of the numbers with marker 1) / 4. (In the paper, X1 = 0 if the first step is drawn as the first mark;
    here this also holds for the second mark.)

    Args:
        length: steps of the longest row, at least 12, so that the last step is never among the first 10. Length 110
            means T = 100.
    """

    length: int

    @property
    def zeroed(self) -> float:
        """The probability that the first step is marked, so that only one number counts."""
        return 1 / FIRST + (1 - 1 / FIRST) / self._second

    @property
    def _second(self) -> int:
        return shortest_steps(self.length) // 2 - 1

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        """Returns rows with `inputs_BT` [B, T, 2] and `targets_BT` [B, T], both float32."""
        row_B = np.arange(count)
        steps_B = rng.integers(shortest_steps(self.length), self.length + 1, count)
        number_BT = rng.uniform(-1, 1, (count, self.length)).astype(np.float32)
        first_B, second_B = rng.integers(FIRST, size=count), rng.integers(self._second, size=count)
        second_B += second_B >= first_B  # skip the step that is already marked
        marker_BT = np.zeros((count, self.length), np.float32)
        marker_BT[row_B, first_B] = marker_BT[row_B, second_B] = 1
        marker_BT[:, 0] = marker_BT[row_B, steps_B - 1] = -1
        answers_B = np.float32(0.5) + np.sum(number_BT * (marker_BT == 1), axis=1) / np.float32(4)
        return answered_last(np.stack([number_BT, marker_BT], axis=2), steps_B, answers_B)
