"""Tasks with generated data: the head at answers alone, tied weights, and no carry from batch to batch."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import mean
from xlstm_jax.train.build import build
from xlstm_jax.train.step import init_state


@pytest.fixture(scope="module")
def run(rolled, tmp_path_factory):
    """Two targets in each of eight rows of 16 steps."""
    config = tiny_config("recall", tmp_path_factory.mktemp("none"))
    config.model.pattern, config.model.features = "r", 8
    return build(config.to_dict())


def test_steps_that_do_not_count_are_left_out(run, monkeypatch):
    params = init_state(run).params
    batch = next(iter(run.task.train_batches(run.sections.seed, rows=run.placement.rows)))
    mask_BT = batch.mask_BT.copy()
    first_B = mask_BT.argmax(axis=1)
    mask_BT[np.arange(0, 8, 2), first_B[::2]] = False  # every second row has fewer answers than the others
    batch = batch._replace(mask_BT=mask_BT)

    def results():
        def loss(params, key=None):
            outcome = run.task.forward(run.model(params), batch, None, key)
            return mean(outcome.loss), outcome.ratios

        key = jax.random.key(0)
        return jax.jit(lambda p: (jax.value_and_grad(loss, has_aux=True)(p, key), loss(p)))(params)

    assert run.task.answers(16) == 2
    few = results()
    monkeypatch.setattr(run.task, "answers", lambda length: length)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), few, results())


def test_tied_weights(run, tmp_path):
    """The head is the transposed embedding of tokens; real numbers have none."""
    config = run.sections.model
    tied = run.task.build(dataclasses.replace(config, tie_embedding=True), rngs=nnx.Rngs(0))
    x_BTD = np.random.default_rng(0).standard_normal((2, 3, config.features)).astype(np.float32)
    wanted = np.einsum("btd,ad->bta", x_BTD, tied.embedding.embedding[...])
    np.testing.assert_allclose(tied.outputs(x_BTD), wanted, rtol=1e-4, atol=1e-5)
    config = tiny_config("adding", tmp_path)
    config.model.tie_embedding = True
    with pytest.raises(UsageError, match="tie_embedding is for tasks that read tokens"):
        build(config.to_dict())


def test_no_carry_is_refused_before_training(tmp_path):
    config = tiny_config("recall", tmp_path)
    config.evaluation.carry = True
    with pytest.raises(UsageError, match=r"starts from an empty state; leave evaluation\.carry"):
        build(config.to_dict())
