"""The adding problem: add the two marked numbers of a sequence."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.problems.adding import TOLERANCE, Adding
from xlstm_jax.data.problems.base import Rows
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemTask


@TASKS.register("adding")
class AddingProblem(ProblemTask):
    """Predict the sum at a row's end; mean squared error. An answer within 0.04 of the sum is right.

    Scaled accuracy is 0 for always answering 0.5, the target's mean.
    """

    unit = "squared error"
    outputs = 1

    def make_codec(self) -> Numbers:
        return Numbers(2)  # a number and a marker

    def answers(self, length: int) -> int:
        del length
        return 1

    @property
    def loss_at_chance(self) -> float:
        """0.5^2 plus the target's variance: 1/16 of that of one or two numbers, each uniform in [-1, 1]."""
        return 0.25 + (2 - self._problems["train"].zeroed) / 48

    @property
    def choices(self) -> float:
        """1 / probability that 0.5 is right: that one number, or the sum of two, is less than 4 x 0.04 = w from 0.

        It is w for one number. The sum's density is (2 - |s|) / 4, which gives w - w^2 / 4.
        """
        zeroed, w = self._problems["train"].zeroed, 4 * TOLERANCE
        return 1 / (w - (1 - zeroed) * w**2 / 4)

    def cost(self, outputs_BQA: jax.Array, batch: Rows) -> jax.Array:
        return _error(outputs_BQA, batch) ** 2

    def right(self, outputs_BQA: jax.Array, batch: Rows) -> jax.Array:
        return jnp.abs(_error(outputs_BQA, batch)) < TOLERANCE

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        return {"answer": float(predicted[0, 0])}

    def problem(self, split: str, length: int) -> Adding:
        if length < 12:
            raise self.refused(split, length, "must be at least 12, so that the shortest rows have 11 steps")
        return Adding(length)


def _error(outputs_BQA: jax.Array, batch: Rows) -> jax.Array:
    return outputs_BQA[..., 0] - batch.targets_BT.astype(outputs_BQA.dtype)
