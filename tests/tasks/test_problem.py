"""The head applied at answers alone: loss, metrics and gradients are those of all steps."""

import jax
import numpy as np
import pytest

from tests.tasks.examples import tiny_config
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
