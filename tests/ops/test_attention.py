"""Attention, in addition to the tests of blocks: fast path, window, rotary angles, and the cache over long texts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.numeric import error
from xlstm_jax.ops.attention import attention, empty_cache, rotary

BATCH, TIME, HEADS, GROUPS, KEYS = 2, 13, 4, 2, 6
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, 5] = RESET[1, [0, 9]] = True


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    sizes = (HEADS, KEYS), (GROUPS, KEYS), (GROUPS, KEYS)
    return [jnp.asarray(rng.standard_normal((BATCH, TIME, *size)), np.float32) for size in sizes]


def by_hand(q, k, v, window, reset):
    """Sums over visible steps in float64, with angles as complex factors."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))

    def turned(x, t):
        half = len(x) // 2
        z = (x[:half] + 1j * x[half:]) * np.exp(1j * t * 10_000.0 ** (-np.arange(half) / half))
        return np.concatenate([z.real, z.imag])

    y = np.zeros((BATCH, TIME, HEADS, KEYS))
    for b, t, h in np.ndindex(BATCH, TIME, HEADS):
        first = max([0, t - window + 1, *(s for s in range(t + 1) if reset[b, s])])
        group = h // (HEADS // GROUPS)
        scores = [turned(q[b, t, h], t) @ turned(k[b, s, group], s) / np.sqrt(KEYS) for s in range(first, t + 1)]
        weights = np.exp(scores)
        y[b, t, h] = weights / weights.sum() @ v[b, first : t + 1, group]
    return y


@pytest.mark.parametrize("reset", [None, RESET], ids=["no resets", "resets"])
@pytest.mark.parametrize("window", [1, 4, 50])
def test_values(window, reset):
    """Windows of one step, a few steps, and more than T; the fast path runs without resets."""
    got, _ = jax.jit(functools.partial(attention, window=window))(*arrays(), reset_BT=reset)
    assert error(np.asarray(got), by_hand(*arrays(), window, np.zeros_like(RESET) if reset is None else reset)) < 1e-6


def test_float64(x64):
    """Does not use the fast path, whose softmax is float32."""
    q, k, v = (a.astype(jnp.float64) for a in arrays())
    got, _ = jax.jit(functools.partial(attention, window=4))(q, k, v)
    assert got.dtype == jnp.float64
    assert error(np.asarray(got), by_hand(q, k, v, 4, np.zeros_like(RESET))) < 1e-14


def test_both_paths_have_equal_gradients():
    """The fast path, and the path with a cache, given an empty one."""

    def loss(args, cache):
        y, after = attention(*args, window=4, cache=cache)
        return jnp.sum(jnp.sin(y)) + jnp.sum(after.k * after.v.sum(-1, keepdims=True))

    cache = empty_cache(BATCH, 4, GROUPS, KEYS, jnp.float32)
    fast, slow = (jax.jit(jax.grad(loss))(arrays(), start) for start in (None, cache))
    assert all(error(np.asarray(a), np.asarray(b)) < 1e-5 for a, b in zip(fast, slow, strict=True))


def test_rotary_sees_distances_alone():
    """q.k of rotated vectors is unchanged if both positions shift, and differs if one does."""
    q, k, _ = arrays()
    steps = jnp.arange(TIME)

    def products(shift, other):
        turned = rotary(q, steps + shift), rotary(jnp.repeat(k, 2, axis=2), steps + other)
        return np.einsum("bthk,bshk->bhts", *turned)

    assert error(products(1000, 1000), products(0, 0)) < 1e-4
    assert error(products(1, 0), products(0, 0)) > 0.1


def test_nan_in_padding_reaches_nothing():
    lengths = np.array([TIME, 7])
    padding = np.arange(TIME) >= lengths[:, None]
    call = jax.jit(functools.partial(attention, window=4))
    spoilt = [jnp.where(padding[..., None, None], jnp.nan, a) for a in arrays()]
    clean, dirty = (call(*args, reset_BT=RESET, lengths_B=lengths) for args in (arrays(), spoilt))
    for got, wanted in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(got, wanted)
