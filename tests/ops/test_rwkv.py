"""RWKV-6's recurrence in chunks against one step after the other, in values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.numeric import error, to_float64
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.rwkv import CHUNK, rwkv6

BATCH, HEADS, KEYS, VALUES = 2, 2, 3, 4


def inputs(time, strong=False, dtype=np.float32):
    """r, k, v, log w, u, S; with `strong`, decays from none at all to a factor of e^-80 a step."""
    rng = np.random.default_rng(time)
    shape = (BATCH, time, HEADS)
    r, k, decay = rng.standard_normal((3, *shape, KEYS))
    v, u = rng.standard_normal((*shape, VALUES)), rng.standard_normal((HEADS, KEYS))
    log_w = -rng.choice([0.0, 1e-3, 80.0], decay.shape) if strong else -np.exp(decay)
    S = rng.standard_normal((BATCH, HEADS, KEYS, VALUES))
    return [jnp.asarray(a, dtype) for a in (r, k, v, log_w, u, S)]


def masks(time):
    reset = np.random.default_rng(1).random((BATCH, time)) < 0.1
    reset[0, min(3, time - 1)] = reset[1, 0] = True
    return jnp.asarray(reset), jnp.asarray([time, (time + 1) // 2], jnp.int32)


def stepwise(r, k, v, log_w, u, S, reset, lengths):
    """The equations, a step at a time."""
    outputs = []
    for t in range(r.shape[1]):
        start = jnp.where(reset[:, t, None, None, None], jnp.zeros_like(S), S)
        kv = k[:, t, :, :, None] * v[:, t, :, None, :]
        o = jnp.einsum("bhk,bhkv->bhv", r[:, t], start + u[None, ..., None] * kv, precision="highest")
        there = (t < lengths)[:, None, None]
        outputs.append(jnp.where(there, o, jnp.zeros_like(o)))
        S = jnp.where(there[..., None], jnp.exp(log_w[:, t])[..., None] * start + kv, S)
    return jnp.stack(outputs, axis=1), S


@pytest.mark.parametrize("strong", [False, True])
@pytest.mark.parametrize("time", [1, CHUNK, 2 * CHUNK + 5])
def test_values_and_gradients(time, strong, x64):
    """One chunk, several with a remainder, a single step; resets, padding, a state to start from."""
    args, (reset, lengths) = inputs(time, strong, np.float64), masks(time)

    def chunked(r, k, v, log_w, u, S):
        return rwkv6(r, k, v, log_w, u, state=S, reset_BT=reset, lengths_B=lengths)

    def run(function):
        outputs, pullback = jax.vjp(function, *args)
        return outputs, pullback(jax.tree.map(jnp.cos, outputs))

    got = jax.jit(lambda: run(chunked))()
    wanted = jax.jit(lambda: run(lambda *a: stepwise(*a, reset, lengths)))()
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert error(a, b) < 1e-12


def test_float32_and_dtypes():
    args = inputs(40)
    o, S = jax.jit(lambda *a: rwkv6(*a[:5], state=a[5]))(*args)
    with jax.enable_x64(True):
        wide = [jnp.asarray(a, np.float64) for a in args]
        wanted = stepwise(*wide, jnp.zeros((BATCH, 40), bool), jnp.full(BATCH, 40))
    for got, true in zip((o, S), wanted, strict=True):
        assert error(*to_float64((got, true))) < 1e-5
    narrow = jax.eval_shape(rwkv6, *(a.astype(jnp.bfloat16) for a in args[:5]))
    assert (narrow[0].dtype, narrow[1].dtype) == (jnp.bfloat16, jnp.float32)


def test_nothing_passes_a_reset_or_enters_from_padding():
    time, at = 20, 9
    r, k, v, log_w, u, S = inputs(time)
    reset, lengths = np.zeros((BATCH, time), bool), np.array([time, 15])
    reset[:, at] = True
    padding = (np.arange(time) >= lengths[:, None])[..., None, None]
    call = jax.jit(functools.partial(rwkv6, reset_BT=reset, lengths_B=lengths))
    clean = call(r, k, v, log_w, u, state=S)
    before = (np.arange(time) < at)[:, None, None]
    changed = [jnp.where(padding, jnp.nan, jnp.where(before, a + 1, a)) for a in (r, k, v)]
    dirty = call(*changed, jnp.where(padding, jnp.nan, log_w), u, state=S + 1)
    np.testing.assert_array_equal(dirty[0][:, at:], clean[0][:, at:])
    np.testing.assert_array_equal(dirty[1], clean[1])


def test_usage_errors():
    r, k, v, log_w, u, _ = inputs(4)
    for misfit in ((r[..., :2], k, v, log_w, u), (r, k, v[:, :3], log_w, u), (r, k, v, log_w, u[:1])):
        with pytest.raises(
            UsageError, match=r"rwkv6 got r .*; wanted r \[B,T,H,K\], .*u \[H,K\]: \w+ has [KTH] = \d, not \d$"
        ):
            rwkv6(*misfit)
