"""Classify the order of marks far apart among distractors (Hochreiter & Schmidhuber 1997, experiments 6a, 6b)."""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, answered_last, shortest_steps

START, END, X = 1, 2, 3  # E and B in the paper; Y is 4
DISTRACTORS = (5, 9)  # a to d are 5 to 8
CLASSES = 9  # token of class 0
PLACES = {2: (10, 50), 3: (10, 33, 66)}  # by number of marks: start of each mark's interval, in hundredths of T


@dataclasses.dataclass(frozen=True)
class TemporalOrder:
    """Rows of T to T + T/10 steps: E, distractors drawn from four symbols, and B, at which the class is the target.

    Each mark, X or Y, is at a step drawn uniformly from an interval, both ends included. The intervals scale with T:
    p T / 100 to (p + 10) T / 100, rounded down, with steps counted from 0. For T = 100 they are the paper's 10 to 20
    and 50 to 60, or 10 to 20, 33 to 43 and 66 to 76. The class is the marks as a binary number, X = 0 and Y = 1, with
    the first mark as the highest digit.

    Args:
        length: steps of the longest row, at least 11, so that the intervals do not overlap. Length 110 means T = 100.
        marks: 2 (experiment 6a, 4 classes) or 3 (6b, 8 classes).
    """

    length: int
    marks: int

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        row_B, shortest = np.arange(count), shortest_steps(self.length)
        steps_B = rng.integers(shortest, self.length + 1, count)
        tokens_BT = rng.integers(*DISTRACTORS, (count, self.length), dtype=np.int32)
        tokens_BT[:, 0] = START
        tokens_BT[row_B, steps_B - 1] = END
        class_B = np.zeros(count, np.int32)
        for place in PLACES[self.marks]:
            step_B = rng.integers(place * shortest // 100, (place + 10) * shortest // 100 + 1, count)
            kind_B = rng.integers(2, size=count, dtype=np.int32)
            tokens_BT[row_B, step_B] = X + kind_B
            class_B = 2 * class_B + kind_B
        return answered_last(tokens_BT, steps_B, CLASSES + class_B)
