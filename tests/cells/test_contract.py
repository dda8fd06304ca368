"""The checks of `xlstm_jax.testing.cells` on every registered sequence cell, and on broken ones that must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.testing import cells
from xlstm_jax.testing.examples import Example, examples

RNN = CELLS.get("rnn")


# Checks that the bias cannot affect are skipped for cells without one.
OTHERS = [cells.split, cells.padding, cells.reset, cells.causality, cells.reverse, cells.vmap, cells.bfloat16]
EVERY = [
    pytest.param(
        example,
        check,
        id=f"{example!r}-{check.__name__}",
        marks=[pytest.mark.slow] * example.without_bias,
    )
    for example in examples()
    for check in cells.CHECKS
    if not (example.without_bias and check in OTHERS)
]


@pytest.mark.parametrize(("example", "check"), EVERY)
def test_cell(example, check):
    check(example)


class SeesTheNextStep(RNN):
    @classmethod
    def project(cls, params, x_TBD):  # the scan passes time as the first axis
        return super().project(params, x_TBD + jnp.roll(x_TBD, -1, axis=0))


class StartsInBfloat16(RNN):
    @staticmethod
    def init(key, config):
        return RNN.init(key, config).astype(jnp.bfloat16)


class LosesItsGradient(RNN):
    @classmethod
    def recur(cls, params, h):
        return super().recur(params, jax.lax.stop_gradient(h))


class Promotes(RNN):
    @classmethod
    def project(cls, params, x_BTD):
        return super().project(params, x_BTD) * np.float16(1)


@pytest.mark.parametrize(
    "cell, check, message",
    [
        (SeesTheNextStep, cells.causality, "Not equal to tolerance"),
        (SeesTheNextStep, cells.split, "Not equal to tolerance"),
        (StartsInBfloat16, cells.float32_in_float32_out, "bfloat16"),
        (LosesItsGradient, cells.gradients_equal_finite_differences, "<="),
        (Promotes, cells.bfloat16, "no available implicit dtype promotion"),
    ],
)
def test_a_broken_cell_is_found(cell, check, message):
    example = Example("broken", cell, cell.Config(in_features=3, features=4))
    with pytest.raises((AssertionError, ValueError), match=message):
        check(example)
