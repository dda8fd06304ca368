"""Free runs step by step: what the outputs mean, beginnings of different lengths, and runs that explode."""

import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.models.autoregression import LinearAutoregression
from xlstm_jax.models.free_run import LIMIT, Update, free_run


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return LinearAutoregression(0.2 * rng.standard_normal((3, 2, 2)), rng.standard_normal(2))


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_each_prediction_is_the_next_input(model, kept):
    """As if the whole sequence were read anew for each step."""
    x_BTD = np.random.default_rng(1).standard_normal((4, 5, 2)).astype(np.float32)
    update = Update(kept, np.array([0.5, 0.1], np.float32))
    run_BKD = free_run(model, jnp.asarray(x_BTD), 6, update)
    for step in range(6):
        output_BD = np.asarray(model.unroll(jnp.asarray(x_BTD))[0])[:, -1]
        following_BD = kept * x_BTD[:, -1] + update.scale_D * output_BD
        np.testing.assert_allclose(run_BKD[:, step], following_BD, rtol=1e-4, atol=1e-5)
        x_BTD = np.concatenate([x_BTD, following_BD[:, None]], axis=1)


def test_beginnings_of_different_lengths(model):
    """Padding changes nothing."""
    x_BTD = np.random.default_rng(1).standard_normal((3, 6, 2)).astype(np.float32)
    update, lengths = Update(1.0, np.ones(2, np.float32)), [2, 6, 3]
    together_BKD = free_run(model, jnp.asarray(x_BTD), 4, update, jnp.asarray(lengths, jnp.int32))
    for row, length in enumerate(lengths):
        alone_BKD = free_run(model, jnp.asarray(x_BTD[row : row + 1, :length]), 4, update)
        np.testing.assert_allclose(together_BKD[row], alone_BKD[0], rtol=1e-5, atol=1e-6)


def test_the_output_that_would_be_right():
    rng = np.random.default_rng(0)
    x_BTD, output_BTD = rng.standard_normal((2, 3, 4, 2)).astype(np.float32)
    for update in (Update(1.0, np.array([0.5, 2.0], np.float32)), Update(0.0, np.ones(2, np.float32))):
        following_BTD = update.following(jnp.asarray(x_BTD), jnp.asarray(output_BTD))
        np.testing.assert_allclose(update.output(x_BTD, np.asarray(following_BTD)), output_BTD, rtol=1e-4, atol=1e-5)


def test_runs_that_explode_are_held():
    exploding = LinearAutoregression(np.full((1, 1, 1), 1e20), np.ones(1))
    run_BKD = free_run(exploding, jnp.ones((2, 3, 1)), 9, Update(1.0, np.ones(1, np.float32)))
    assert (np.asarray(run_BKD) == LIMIT).all()
