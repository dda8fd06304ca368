"""Models of the variance against their recursions in float64, and GARCH against the package `arch`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.volatility import SIMPLE, Garch, StackVolatility, VolatilityModelConfig

STEPS = 60


@pytest.fixture(scope="module")
def inputs():
    """[B, T, 3]: returns, and two logarithms of variances."""
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, STEPS, 3)), jnp.float32)


def stack(residual: bool) -> StackVolatility:
    config = VolatilityModelConfig(pattern="r", features=8, residual=residual)
    return StackVolatility(config, 3, rngs=nnx.Rngs(0))


def outputs(model, inputs, carry=None):
    """Compiled."""
    return jax.jit(lambda inputs, carry: model.unroll(inputs, carry))(inputs, carry)


def recursion(square_BT, omega, alpha, beta, first):
    """log(s_{t+1}^2) after each step."""
    variance_B, found = np.full(len(square_BT), float(first)), []
    for square_B in np.asarray(square_BT, np.float64).T:
        variance_B = omega + alpha * square_B + beta * variance_B
        found.append(np.log(variance_B))
    return np.array(found).T[..., None]


def test_garch(inputs):
    model = Garch()
    model.log_mean[...] = jnp.full((1,), 0.3)
    omega, alpha, beta = (float(value[0]) for value in model.coefficients())
    assert alpha + beta == pytest.approx(0.98) and alpha / 0.98 == pytest.approx(0.08)
    assert omega / (1 - alpha - beta) == pytest.approx(np.exp(0.3), rel=1e-5)
    wanted = recursion(np.asarray(inputs[..., 0]) ** 2, omega, alpha, beta, np.exp(0.3))
    np.testing.assert_allclose(outputs(model, inputs)[0], wanted, rtol=1e-4, atol=1e-5)


def test_ewma(inputs):
    wanted = recursion(np.asarray(inputs[..., 0]) ** 2, 0, 0.06, 0.94, 1)
    np.testing.assert_allclose(outputs(SIMPLE["ewma"](), inputs)[0], wanted, rtol=1e-4, atol=1e-4)
    assert np.isfinite(outputs(SIMPLE["ewma"](), jnp.zeros((1, 3000, 1), jnp.float32))[0]).all()


def test_har(inputs):
    """Means over 1, 5 and 22 days, or over the days that there are."""
    model = SIMPLE["har"]()
    weights, bias = np.array([0.5, 0.3, 0.1]), -0.2
    model.kernel[...], model.bias[...] = jnp.asarray(weights[:, None], jnp.float32), jnp.full((1,), bias)
    log_BT, outputs_BT1 = np.asarray(inputs[..., -1], np.float64), outputs(model, inputs)[0]
    for t in range(STEPS):
        means = [log_BT[:, max(0, t - span + 1) : t + 1].mean(axis=1) for span in (1, 5, 22)]
        np.testing.assert_allclose(outputs_BT1[:, t, 0], bias + weights @ means, rtol=1e-4, atol=1e-5)


def test_the_stack_corrects_a_mean(inputs):
    alone, both = stack(False), stack(True)
    for name in ("embedding", "blocks", "norm", "head"):
        nnx.update(getattr(both, name), nnx.state(getattr(alone, name)))
    mean = recursion(np.exp(np.asarray(inputs[..., -1])), 0, 0.06, 0.94, 1)
    np.testing.assert_allclose(outputs(both, inputs)[0] - outputs(alone, inputs)[0], mean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["stack", *SIMPLE])
def test_no_model_looks_ahead(inputs, name):
    """And those with a state read in pieces what they read as a whole."""
    model = stack(True) if name == "stack" else SIMPLE[name]()
    whole, _ = outputs(model, inputs)
    other, _ = outputs(model, inputs.at[:, 40:].set(9.0))
    np.testing.assert_array_equal(whole[:, :40], other[:, :40])
    assert name == "constant" or not np.allclose(whole[:, 40:], other[:, 40:])
    if name in ("stack", "garch", "ewma"):
        first, carry = outputs(model, inputs[:, :25])
        rest, _ = outputs(model, inputs[:, 25:], carry)
        np.testing.assert_allclose(jnp.concatenate([first, rest], axis=1), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize("name", ["garch", "ewma"])
def test_the_filter_of_arch(x64, name):
    """The same parameters and first variance give the same variances."""
    univariate = pytest.importorskip("arch.univariate", reason="arch is not installed (pip install -e '.[tasks]')")
    returns_N = np.random.default_rng(0).standard_normal(2000)
    peer = univariate.ZeroMean(returns_N, volatility=univariate.GARCH(p=1, q=1), rescale=False)
    model = SIMPLE[name]()
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model)
    wanted_N = peer.fix([float(value[0]) for value in model.coefficients()]).conditional_volatility ** 2
    found, _ = outputs(model, jnp.asarray(returns_N[None, :, None]), jnp.asarray(wanted_N[:1]))
    np.testing.assert_allclose(np.exp(found[0, :-1, 0]), wanted_N[1:], rtol=1e-6)
