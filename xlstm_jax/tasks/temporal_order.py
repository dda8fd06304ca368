"""Classify rows by the order of two or three marks far apart."""

import dataclasses
import itertools
from typing import Literal

from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.temporal_order import CLASSES, TemporalOrder
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask


@dataclasses.dataclass(frozen=True)
class TemporalOrderConfig(ProblemConfig):
    marks: Literal[2, 3] = 2  # 2: experiment 6a, 3: 6b


@TASKS.register("temporal_order")
class TemporalOrderTask(ProblemTask):
    """Predict the class at a row's last step."""

    Config = TemporalOrderConfig
    unit = "nats per row"

    @property
    def outputs(self) -> int:
        return CLASSES + self.choices

    @property
    def choices(self) -> int:
        """The classes."""
        return 2**self.config.marks

    def make_codec(self) -> Symbols:
        orders = ("".join(order) for order in itertools.product("XY", repeat=self.config.marks))
        return Symbols((*".EBXYabcd", *orders))

    def answers(self, length: int) -> int:
        del length
        return 1

    def problem(self, split: str, length: int) -> TemporalOrder:
        if length < 11:
            raise self.refused(split, length, "must be at least 11, so that the marks' intervals do not overlap")
        return TemporalOrder(length, self.config.marks)
