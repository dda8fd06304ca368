"""The adding problem: keep two real numbers among many until the end (Hochreiter & Schmidhuber 1997, experiment 4)."""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, answered_last, shortest_steps

FIRST = 10  # steps among which the first marked one is drawn
TOLERANCE = 0.04  # an answer is right where its error is smaller


@dataclasses.dataclass(frozen=True)
class Adding:
    """Rows of T to T + T/10 steps, each of which reads a number and a marker.

    Numbers are even in [-1, 1]. One of the first 10 steps is marked, then one of the first T/2 - 1 that are not. The
    marker is 1 at both, but -1 at a row's first and last step, whatever was drawn, and 0 elsewhere. At the last step
    the target is 0.5 + (sum of the numbers marked by 1) / 4. (The paper has X1 = 0 where the first step was the first
    drawn; here this holds where it was the second, too.)

    Args:
        length: of the longest rows, at least 12, so that the last step is none of the first 10; T is 100 where it is
            110.
    """

    length: int

    @property
    def zeroed(self) -> float:
        """The probability that the first step is marked, so that one number alone counts."""
        return 1 / FIRST + (1 - 1 / FIRST) / self._second

    @property
    def _second(self) -> int:
        return shortest_steps(self.length) // 2 - 1

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        """`tokens_BT` is [B, T, 2] and `targets_BT` [B, T], both float32."""
        row_B = np.arange(count)
        steps_B = rng.integers(shortest_steps(self.length), self.length + 1, count)
        number_BT = rng.uniform(-1, 1, (count, self.length)).astype(np.float32)
        first_B, second_B = rng.integers(FIRST, size=count), rng.integers(self._second, size=count)
        second_B += second_B >= first_B  # the first one is no longer among those that are counted
        marker_BT = np.zeros((count, self.length), np.float32)
        marker_BT[row_B, first_B] = marker_BT[row_B, second_B] = 1
        marker_BT[:, 0] = marker_BT[row_B, steps_B - 1] = -1
        answers_B = np.float32(0.5) + np.sum(number_BT * (marker_BT == 1), axis=1) / np.float32(4)
        return answered_last(np.stack([number_BT, marker_BT], axis=2), steps_B, answers_B)
