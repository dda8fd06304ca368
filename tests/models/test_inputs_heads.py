"""Inputs and heads: shapes, values by hand, and what is in the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models.heads import Head, pooled
from xlstm_jax.models.inputs import Both, Features, Patches, Tokens, TokensAndFeatures

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 5, 4)).astype(np.float32)
LENGTHS = np.array([5, 2, 0], np.int32)


def rngs():
    return nnx.Rngs(0)


def test_both_is_the_sum():
    tokens, numbers = Tokens(7, 6, rngs=rngs()), Features(4, 6, rngs=rngs())
    both = Both(tokens, numbers)
    token_BT = RNG.integers(0, 7, (3, 5))
    got = both(TokensAndFeatures(token_BT, X))
    wanted = (
        np.asarray(tokens.embedding[...])[token_BT]
        + X @ np.asarray(numbers.kernel[...])
        + np.asarray(numbers.bias[...])
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    spoilt = np.where(np.arange(5)[None, :, None] < LENGTHS[:, None, None], X, np.float32(np.nan))
    assert np.isfinite(both(TokensAndFeatures(token_BT, spoilt), LENGTHS)).all()


def test_patches_are_in_raster_order():
    image = np.arange(2 * 4 * 6 * 1, dtype=np.float32).reshape(2, 4, 6, 1)
    patches = Patches(4, 6, 1, 2, 3, rngs=rngs())
    got = patches(image)
    assert got.shape == (2, 6, 3)
    kernel, bias, position = (np.asarray(a[...]) for a in (patches.map.kernel, patches.map.bias, patches.position))
    for number, (row, column) in enumerate((r, c) for r in (0, 2) for c in (0, 2, 4)):
        patch = image[1, row : row + 2, column : column + 2].reshape(-1)
        np.testing.assert_allclose(got[1, number], patch @ kernel + bias + position[number], rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match="patch 3 does not divide images of 4 x 6"):
        Patches(4, 6, 1, 3, 3, rngs=rngs())
    with pytest.raises(UsageError, match="images has H = 6, not 4"):
        patches(np.zeros((1, 6, 4, 1), np.float32))


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "ends"])
def test_pooling_by_hand(pooling):
    """Of the steps of each row; an empty row gives zeros."""
    rows = [X[0], X[1, :2]]
    by_hand = {
        "last": lambda x: x[-1],
        "mean": lambda x: x.mean(axis=0),
        "max": lambda x: x.max(axis=0),
        "ends": lambda x: np.concatenate([x[-1], x[0]]),
    }[pooling]
    spoilt = jnp.asarray(np.where(np.arange(5)[None, :, None] < LENGTHS[:, None, None], X, np.float32(np.nan)))
    got = pooled(spoilt, LENGTHS, pooling)
    np.testing.assert_allclose(got[:2], [by_hand(row) for row in rows], rtol=1e-6)
    assert not np.asarray(got[2]).any()
    np.testing.assert_allclose(pooled(X, None, pooling), [by_hand(row) for row in X], rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(pooled(x, LENGTHS, pooling) ** 2))(spoilt)
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[1, 2:].any()


def test_what_is_refused():
    with pytest.raises(UsageError, match="pooling 'first' is unknown; allowed: 'last', 'mean', 'max', 'ends'"):
        pooled(X, None, "first")
    with pytest.raises(UsageError, match="Head outputs 0 is not allowed"):
        Head(4, 0, rngs=rngs())
    with pytest.raises(UsageError, match="Features got u"):
        Features(3, 6, rngs=rngs())(X)


def test_capped_outputs():
    head, capped = (Head(4, 9, cap=cap, rngs=rngs()) for cap in (0.0, 0.5))
    np.testing.assert_allclose(capped(X), 0.5 * np.tanh(np.asarray(head(X)) / 0.5), rtol=1e-5)
    assert Head(4, 9, dtype="bfloat16", rngs=rngs())(X).dtype == jnp.float32
