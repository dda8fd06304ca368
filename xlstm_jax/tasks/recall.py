"""Multi-query associative recall, the xLSTM paper's test of memory capacity."""

import dataclasses
from typing import Annotated

from xlstm_jax.config import INT32, Bounds, PositiveFloat, PositiveInt
from xlstm_jax.data.problems.recall import Recall
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask


@dataclasses.dataclass(frozen=True)
class RecallConfig(ProblemConfig):
    sequence_length: PositiveInt = 64
    pairs: PositiveInt = 4  # pairs of key and value in a training row
    long_pairs: PositiveInt = 16  # pairs in a row of the split "long"
    vocab_size: Annotated[int, Bounds(least=4, under=INT32)] = 8192  # the first half keys, the second values
    # Exponent of the queries' positions: 1 is uniform, smaller values put most queries early.
    power: PositiveFloat = 0.01


@TASKS.register("recall")
class AssociativeRecall(ProblemTask):
    """Predict each query's value; rows of `sequence_length` steps, of `long_length` in split "long"."""

    Config = RecallConfig
    unit = "nats per query"

    @property
    def outputs(self) -> int:
        return self.config.vocab_size

    @property
    def choices(self) -> int:
        """The values."""
        return self.outputs // 2

    def answers(self, length: int) -> int:
        return max(problem.pairs for problem in self._problems.values() if problem.length == length)

    def problem(self, split: str, length: int) -> Recall:
        config = self.config
        name, pairs = ("long_pairs", config.long_pairs) if split == "long" else ("pairs", config.pairs)
        if config.vocab_size % 2:
            raise UsageError(f"data.vocab_size {config.vocab_size} is not allowed; must be even")
        most = min(length // 4, config.vocab_size // 2 - 1)
        if pairs > most:
            raise UsageError(
                f"data.{name} {pairs} is not allowed; must be at most {most} in rows of {length} steps "
                f"with a vocabulary of {config.vocab_size}"
            )
        return Recall(length, pairs, config.vocab_size, config.power)
