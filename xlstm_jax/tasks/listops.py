"""Evaluate nested operations on lists of digits."""

import dataclasses
from typing import Annotated

from xlstm_jax.config import INT32, Bounds, PositiveInt
from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.listops import SYMBOLS, ListOps
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask


@dataclasses.dataclass(frozen=True)
class ListOpsConfig(ProblemConfig):
    depth: PositiveInt = 10  # maximum nesting of operations
    arguments: Annotated[int, Bounds(least=2, under=INT32)] = 5  # maximum number of arguments of an operation
    shortest: PositiveInt = 4  # steps of the shortest training rows


@TASKS.register("listops")
class ListOpsTask(ProblemTask):
    """Rows of `shortest` to `sequence_length` steps, in the split "long" of `sequence_length` to `long_length`.

    The digit is predicted at the last step, among 10.
    """

    Config = ListOpsConfig
    unit = "nats per expression"
    outputs = len(SYMBOLS)
    choices = 10

    def make_codec(self) -> Symbols:
        return Symbols(SYMBOLS)

    def problem(self, split: str, length: int) -> ListOps:
        config = self.config
        shortest = config.sequence_length if split == "long" else config.shortest
        if shortest > length:
            name, before = ("long_length", "sequence_length") if split == "long" else ("sequence_length", "shortest")
            raise UsageError(f"data.{name} {length} is not allowed; must be at least data.{before} {shortest}")
        return ListOps(config.depth, config.arguments, shortest, length)
