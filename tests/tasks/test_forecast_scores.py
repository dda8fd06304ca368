"""Quantiles: their loss by hand, and levels that cannot be."""

import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.forecast_scores import pinball, quantile_levels
from xlstm_jax.tasks.forecaster import LEVELS


def test_pinball():
    """Twice the mean over the quantiles of q e if e > 0, else (q - 1) e."""
    rng = np.random.default_rng(0)
    truth, quantiles = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 9))
    wanted = np.zeros((2, 3))
    for place in np.ndindex(2, 3):
        for level, quantile in zip(LEVELS, quantiles[place], strict=True):
            error = truth[place] - quantile
            wanted[place] += 2 / 9 * (level * error if error > 0 else (level - 1) * error)
    np.testing.assert_allclose(pinball(jnp.float32(truth), jnp.float32(quantiles), LEVELS), wanted, rtol=1e-5)


def test_levels():
    levels_Q = quantile_levels("0.1, 0.5,0.75")
    assert levels_Q.dtype == np.float32 and levels_Q.tolist() == pytest.approx([0.1, 0.5, 0.75])
    assert quantile_levels("0.5").tolist() == [0.5]


@pytest.mark.parametrize("text", ["", "a", "0.9,0.5,0.1", "0.1,0.4,0.9", "0.1,0.5", "0,0.5,1", "0.5,0.5,0.5", "0.5,"])
def test_levels_that_cannot_be(text):
    with pytest.raises(UsageError, match=f"data.quantiles '{text}' is not allowed; give increasing numbers"):
        quantile_levels(text)
