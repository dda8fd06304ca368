"""The adding problem: the one task of real numbers."""

from typing import Any

import jax
import jax.numpy as jnp

from xlstm_jax.data.adding import TOLERANCE, Adding
from xlstm_jax.data.batches import Batch
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.generated import GeneratedTask


@TASKS.register("adding")
class AddingProblem(GeneratedTask):
    """Mean squared error of the sum at a row's end; an answer is right where it is off by less than 0.04.

    Scaled accuracy is 0 for who always answers 0.5, the target's mean.
    """

    loss_unit = "squared error"
    vocab_size = 1  # the sum

    def model_fields(self) -> dict[str, Any]:
        return super().model_fields() | {"input_features": 2}

    def answers(self, length: int) -> int:
        del length
        return 1

    @property
    def loss_at_chance(self) -> float:
        """0.5^2 and the variance: 1/16 of that of two numbers that are even in [-1, 1], 1/3 each, or of one of them."""
        return 0.25 + (2 - self._problems["train"].zeroed) / 48

    @property
    def choices(self) -> float:
        """1 / probability that 0.5 is right: that one number, or the sum of two, is less than 4 x 0.04 = w from 0.

        It is w for one number. The sum's density is (2 - |s|) / 4, which gives w - w^2 / 4.
        """
        zeroed, w = self._problems["train"].zeroed, 4 * TOLERANCE
        return 1 / (w - (1 - zeroed) * w**2 / 4)

    def cost(self, outputs_BTA: jax.Array, batch: Batch) -> jax.Array:
        return _error(outputs_BTA, batch) ** 2

    def right(self, outputs_BTA: jax.Array, batch: Batch) -> jax.Array:
        return jnp.abs(_error(outputs_BTA, batch)) < TOLERANCE

    def problem(self, split: str, length: int) -> Adding:
        if length < 12:
            raise self.refused(split, length, "the shortest rows need 11 steps: at least 12")
        return Adding(length)


def _error(outputs_BTA: jax.Array, batch: Batch) -> jax.Array:
    return outputs_BTA[..., 0] - batch.targets_BT.astype(outputs_BTA.dtype)
