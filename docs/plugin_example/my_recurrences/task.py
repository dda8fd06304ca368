"""The latch of Bengio, Simard & Frasconi 1994 in symbols: the first symbol of a row must outlast noise."""

import dataclasses
from typing import Annotated

import numpy as np

from xlstm_jax.config import INT32, Bounds
from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.base import Rows, answered_last, shortest_steps
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask

NOISE = (1, 3)  # two symbols; 0 is padding, the marks come after them


@dataclasses.dataclass(frozen=True)
class Latch:
    """Rows of T to T + T/10 steps: a mark, then noise; at the last step the mark is due.

    Args:
        length: of the longest rows; T is 100 if it is 110.
        marks: number of different first symbols.
    """

    length: int
    marks: int

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        steps_B = rng.integers(shortest_steps(self.length), self.length + 1, count)
        inputs_BT = rng.integers(*NOISE, (count, self.length), dtype=np.int32)
        inputs_BT[:, 0] = mark_B = rng.integers(NOISE[1], NOISE[1] + self.marks, count, dtype=np.int32)
        return answered_last(inputs_BT, steps_B, mark_B)


@dataclasses.dataclass(frozen=True)
class LatchConfig(ProblemConfig):
    marks: Annotated[int, Bounds(least=2, under=INT32)] = 2  # different first symbols


@TASKS.register("latch")
class LatchTask(ProblemTask):
    """Tell a row's first symbol at its last step."""

    Config = LatchConfig
    unit = "nats per row"

    @property
    def outputs(self) -> int:
        return NOISE[1] + self.config.marks

    @property
    def choices(self) -> int:
        return self.config.marks

    def make_codec(self) -> Symbols:
        return Symbols((".", "a", "b", *(f"mark{n}" for n in range(self.config.marks))))

    def answers(self, length: int) -> int:
        del length
        return 1

    def problem(self, split: str, length: int) -> Latch:
        if length < 2:
            raise self.refused(split, length, "the mark and the answer need a step each: at least 2")
        return Latch(length, self.config.marks)
