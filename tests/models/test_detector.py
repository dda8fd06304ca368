"""Models of what is normal: causality, a code and nothing else, whole series as windows, any block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.detector import Autoencoder, Constant, DetectorConfig, Forecaster, expected_of_series

X = jnp.asarray(np.random.default_rng(0).standard_normal((3, 12, 5)), jnp.float32)


def config(**options):
    return DetectorConfig(**{"features": 8, "pattern": "r", "code": 3, "embedding_std": 1.0, **options})


def autoencoder(**options):
    return Autoencoder(config(kind="autoencoder", **options), 5, 2, 12, rngs=nnx.Rngs(0))


def forecaster(**options):
    return Forecaster(config(**options), 5, 2, rngs=nnx.Rngs(0))


def test_a_forecaster_is_causal():
    model = forecaster()
    before, after = (jax.jit(model.expected)(x) for x in (X, X.at[:, 7:].add(1)))
    assert before.shape == (3, 12, 2)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert (before[:, 7] != after[:, 7]).all()


def test_an_autoencoder_knows_only_its_code():
    """Windows with one code are expected to be the same: what passes has rank `code`."""
    model = autoencoder()
    jacobian = jax.jit(jax.jacrev(lambda x: model.expected(x[None])[0].ravel()))(X[0]).reshape(24, 60)
    assert np.linalg.matrix_rank(np.asarray(jacobian), tol=1e-6 * float(jnp.abs(jacobian).max()) + 1e-9) <= 3
    assert model.expected(X).shape == (3, 12, 2)


def test_an_autoencoder_by_hand():
    """Encode, squeeze, expand, decode the steps, turn around."""
    model = autoencoder()
    h_BTD, _ = model.encoder(model.embedding(X))
    code = h_BTD[:, -1] @ model.squeeze.kernel[...] + model.squeeze.bias[...][None]
    wide = code @ model.expand.kernel[...] + model.expand.bias[...][None]
    y_BTD, _ = model.decoder(wide[:, None] + model.step[...][None])
    wanted = np.asarray(y_BTD @ model.head.kernel[...])[:, ::-1]
    np.testing.assert_allclose(model.expected(X), wanted, atol=1e-5)


@pytest.mark.parametrize("make", [forecaster, autoencoder])
@pytest.mark.parametrize("pattern", [pytest.param("ms", marks=pytest.mark.slow), "transformer"])
def test_any_block(make, pattern):
    """Each row of the output has values of its own, and every parameter a gradient."""
    model = make(pattern=pattern, features=32, final_norm=True)
    outputs = jax.jit(model.expected)(X)
    assert np.ptp(np.asarray(outputs), axis=1).min() > 1e-7
    graphdef, params = nnx.split(model)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p).expected(X) ** 2)))(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))


def test_dropout_only_in_training():
    for make in (forecaster, autoencoder):
        model = make(dropout=0.5)
        noisy, plain = jax.jit(lambda seed, m=model: m.expected(X, key=jax.random.key(seed))), jax.jit(model.expected)
        assert (noisy(0) != noisy(1)).any() and (plain(X) == plain(X)).all()


@pytest.mark.parametrize(("window", "stride"), [(12, 5), (4, 1), (3, 3)])
def test_whole_series_are_windows(window, stride):
    """The last rows of each window, with zeros before the first row."""
    model = forecaster()
    expected = jax.jit(model.expected)
    got = jax.jit(lambda x: expected_of_series(model, x, window, stride))(X)
    padded = np.concatenate([np.zeros((3, window - stride, 5)), X, np.zeros((3, stride, 5))], axis=1).astype(np.float32)
    for row in range(0, 12, stride):
        wanted = expected(jnp.asarray(padded[:, row : row + window]))[:, window - stride :]
        np.testing.assert_allclose(got[:, row : row + stride], wanted[:, : 12 - row], atol=1e-6)


def test_a_constant():
    model = Constant(2)
    model.bias[...] = jnp.array([1.0, 2.0])
    assert model.expected(X).shape == (3, 12, 2) and (model.expected(X) == jnp.array([1.0, 2.0])[None, None]).all()
