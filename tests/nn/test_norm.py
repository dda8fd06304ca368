"""Norms compared with their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.nn import BatchNorm, HeadNorm, layer_norm


def normalized(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


# At a small scale the eps of 1e-5 matters, so a wrong eps shows.
@pytest.mark.parametrize("scale", [1.0, 3e-3])
def test_head_norm(scale):
    """Mean and variance per head, one weight per feature, heads concatenated."""
    rng = np.random.default_rng(0)
    h = scale * (rng.standard_normal((2, 3, 4, 5)) + np.arange(4)[:, None]).astype(np.float32)
    weight = rng.standard_normal(20).astype(np.float32)
    module = HeadNorm(4, 5, dtype=jnp.float32, rngs=nnx.Rngs(0))
    assert (module.scale[...] == 1).all()
    module.scale[...] = jnp.asarray(weight)
    wanted = normalized(h.astype(np.float64)).reshape(2, 3, 20) * weight
    np.testing.assert_allclose(module(jnp.asarray(h)), wanted, atol=2e-5)


def test_head_norm_takes_statistics_in_float32():
    """With a large mean, the differences would be lost in bfloat16."""
    h = (jnp.arange(8, dtype=jnp.float32) + 100).astype(jnp.bfloat16).reshape(1, 1, 1, 8)
    # Strict promotion raises even for asking which dtype holds both bfloat16 and float32.
    with jax.numpy_dtype_promotion("standard"):
        y = HeadNorm(1, 8, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(h)
    assert y.dtype == jnp.bfloat16
    wanted = normalized(np.asarray(h, np.float64)).reshape(1, 1, 8)
    np.testing.assert_allclose(np.asarray(y, np.float64), wanted, atol=1e-2)


@pytest.mark.parametrize("scale", [1.0, 3e-3])
def test_layer_norm(scale):
    x = scale * np.random.default_rng(0).standard_normal((2, 3, 16)).astype(np.float32) + scale
    module = layer_norm(16, dtype=jnp.float32, rngs=nnx.Rngs(0))
    assert list(nnx.to_pure_dict(nnx.split(module)[1])) == ["scale"]
    np.testing.assert_allclose(module(jnp.asarray(x)), normalized(x.astype(np.float64)), atol=2e-5)


def batch_norm(features):
    """A BatchNorm with non-trivial parameters, and these parameters."""
    module, rng = BatchNorm(features, dtype=jnp.float32, rngs=nnx.Rngs(0)), np.random.default_rng(1)
    values = {name: rng.uniform(0.5, 2, features) for name in ("scale", "bias", "running_mean", "running_var")}
    for name, value in values.items():
        getattr(module, name)[...] = jnp.asarray(value, jnp.float32)
    return module, values


@pytest.mark.parametrize("lengths", [None, [4, 1, 3]])
@pytest.mark.parametrize("scale", [1.0, 3e-3])
def test_batch_norm(scale, lengths):
    """Training uses mean and variance over rows and steps, otherwise running averages. Padding counts in neither."""
    x = scale * (np.random.default_rng(0).standard_normal((3, 4, 5)) + np.arange(5))
    inside = np.arange(4) < np.asarray(lengths or [4, 4, 4])[:, None]
    module, values = batch_norm(5)
    given = {"lengths": jnp.asarray(lengths)} if lengths else {}
    for training in (True, False):
        mean, var = values["running_mean"], values["running_var"]
        if training:
            mean, var = x[inside].mean(0), x[inside].var(0)
        wanted = (x - mean) / np.sqrt(var + 1e-5) * values["scale"] + values["bias"]
        got = module(jnp.asarray(x, jnp.float32), training=training, **given)
        np.testing.assert_allclose(got[inside], wanted[inside], rtol=1e-4, atol=1e-5)


def test_gradients_of_batch_norm():
    """The gradients of the running averages are their differences from the batch's statistics, whatever the loss."""
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    module, values = batch_norm(5)
    for weight in (1.0, 7.0):
        grads = nnx.grad(lambda module, weight=weight: weight * jnp.sum(module(jnp.asarray(x), training=True) ** 3))(
            module
        )
        np.testing.assert_allclose(grads.running_mean[...], values["running_mean"] - x.mean((0, 1)), rtol=1e-5)
        np.testing.assert_allclose(grads.running_var[...], values["running_var"] - x.var((0, 1)), rtol=1e-5)
    # The gradient of x goes through mean and variance: a constant added to a feature changes nothing.
    dx = jax.grad(lambda x: jnp.sum(module(x, training=True) ** 3))(jnp.asarray(x))
    np.testing.assert_allclose(dx.sum((0, 1)), 0, atol=1e-4)
    assert float(jnp.abs(dx).max()) > 0.1
