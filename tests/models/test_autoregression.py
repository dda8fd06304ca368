"""Linear autoregression by its equation, in pieces, and fitted to series that are autoregressive."""

import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.models.autoregression import LinearAutoregression, least_squares


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return rng.standard_normal((3, 2, 4)), rng.standard_normal(4), rng.standard_normal((5, 9, 2)).astype(np.float32)


def test_its_equation(arrays):
    kernel_LDA, bias_A, x_BTD = arrays
    outputs_BTA, _ = LinearAutoregression(kernel_LDA, bias_A).unroll(jnp.asarray(x_BTD))
    for t in range(9):
        wanted_BA = bias_A + sum(x_BTD[:, t - 2 + lag] @ kernel_LDA[lag] for lag in range(3) if t - 2 + lag >= 0)
        np.testing.assert_allclose(outputs_BTA[:, t], wanted_BA, rtol=1e-5, atol=1e-5)


def test_pieces_and_lengths(arrays):
    """What is read in pieces is read as a whole; padding changes no carry."""
    kernel_LDA, bias_A, x_BTD = arrays
    model = LinearAutoregression(kernel_LDA, bias_A)
    whole_BTA, _ = model.unroll(jnp.asarray(x_BTD))
    lengths_B = jnp.asarray([1, 2, 4, 6, 7], jnp.int32)
    first_BTA, carry = model.unroll(jnp.asarray(x_BTD[:, :7]), lengths=lengths_B)
    rest_BTD = np.stack([x_BTD[row, length : length + 2] for row, length in enumerate(lengths_B)])
    rest_BTA, _ = model.unroll(jnp.asarray(rest_BTD), carry)
    for row, length in enumerate(lengths_B):
        np.testing.assert_allclose(first_BTA[row, :length], whole_BTA[row, :length], rtol=1e-6)
        np.testing.assert_allclose(rest_BTA[row], whole_BTA[row, length : length + 2], rtol=1e-5, atol=1e-6)


def test_least_squares_finds_the_coefficients():
    """x_t = A x_{t-1} + B x_{t-2} + c, without noise."""
    rng = np.random.default_rng(0)
    a, b, c = 0.5 * np.eye(2) + 0.1, np.array([[0.1, -0.2], [0.2, 0.1]]), np.array([0.3, -0.1])
    x_NSD = rng.standard_normal((6, 20, 2))
    for t in range(2, 20):
        x_NSD[:, t] = x_NSD[:, t - 1] @ a + x_NSD[:, t - 2] @ b + c
    kernel_LDA, bias_A = least_squares(x_NSD[:, :-1], x_NSD[:, 1:], 2)
    np.testing.assert_allclose(kernel_LDA, [b, a], atol=1e-9)
    np.testing.assert_allclose(bias_A, c, atol=1e-9)
