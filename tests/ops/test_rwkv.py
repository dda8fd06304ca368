"""RWKV-6's recurrence in chunks against step by step, in values and gradients, at any decay."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.linear_cases import error
from tests.oracles import linear_attention as oracles
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.rwkv import BLOCK, CHUNK, rwkv6

BATCH, HEADS, KEYS, VALUES = 2, 2, 3, 4
NAMES = ["o", "S", "dr", "dk", "dv", "dlog_w", "du", "dS"]
DECAYS = {  # log w of a shape
    "normal": lambda rng, shape: -np.exp(rng.standard_normal(shape)),
    "strong": lambda rng, shape: -rng.choice([0.0, 1e-3, 80.0], shape),
    "mixed": lambda rng, shape: -rng.choice([1e-4, 1e-2, 1.0, 30.0, 1e4, 1e6, 1e9, np.inf], shape),
    "shut": lambda rng, shape: np.full(shape, -np.inf),
    **{
        f"{value:g} at some steps": functools.partial(lambda value, *given: at_some(value, *given), value)
        for value in (-1e4, -1e5, -1e6, -1e9, -np.inf)
    },
}


def at_some(value, rng, shape):
    log_w = -np.exp(rng.standard_normal(shape) - 1)
    log_w[:, 1::5] = value  # one to four per chunk, including its borders
    return log_w


def inputs(time, decay="normal", dtype=np.float32):
    """r, k, v, log w, u, S."""
    rng = np.random.default_rng(time)
    shape = (BATCH, time, HEADS)
    r, k = rng.standard_normal((2, *shape, KEYS))
    v, u = rng.standard_normal((*shape, VALUES)), rng.standard_normal((HEADS, KEYS))
    S = rng.standard_normal((BATCH, HEADS, KEYS, VALUES))
    return [a.astype(dtype) for a in (r, k, v, DECAYS[decay](rng, (*shape, KEYS)), u, S)]


def masks(time):
    reset = np.random.default_rng(1).random((BATCH, time)) < 0.1
    reset[0, min(3, time - 1)] = reset[1, 0] = True
    return reset, np.asarray([time, (time + 1) // 2], np.int32)


@jax.jit
def run(args, reset, lengths, weights):
    """o, S, and the gradients of <o, do> + <S, dS>."""

    def op(r, k, v, log_w, u, S):
        return rwkv6(r, k, v, log_w, u, state=S, reset_BT=reset, lengths_B=lengths)

    outputs, pullback = jax.vjp(op, *args)
    return *outputs, *pullback(weights)


def reference(args, reset, lengths, weights):
    r, k, v, log_w, u, S = (np.asarray(a, np.float64) for a in args)
    outputs = oracles.rwkv6(r, k, v, log_w, u, S, reset, lengths)
    return *outputs, *oracles.adjoint(r, k, v, np.exp(log_w), u, S, reset, lengths, *weights)


def cotangents(time, dtype):
    rng = np.random.default_rng(2)
    do, dS = rng.standard_normal((BATCH, time, HEADS, VALUES)), rng.standard_normal((BATCH, HEADS, KEYS, VALUES))
    return do.astype(dtype), dS.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("time", [1, BLOCK + 3, 2 * CHUNK + 5])
def test_values_and_gradients(time, dtype):
    """One step, some blocks, chunks with a remainder; resets, padding, an initial state; every decay."""
    limit, (reset, lengths), weights = {"float32": 1e-6, "float64": 1e-14}[dtype], masks(time), cotangents(time, dtype)
    with jax.enable_x64(dtype == "float64"):
        for decay in DECAYS:
            args = inputs(time, decay, dtype)
            got = run(args, reset, lengths, weights)
            for name, a, b in zip(NAMES, got, reference(args, reset, lengths, weights), strict=True):
                assert a.dtype == dtype
                assert error(a, b) < limit, (name, decay)


def test_the_gradient_of_a_strong_decay_keeps_its_digits():
    """At e^-50 per step it is 1e-22: terms between neighbouring steps must not leave a residue in it."""
    time = 2 * CHUNK + 5
    args, weights = inputs(time), cotangents(time, np.float32)
    args[3] = np.full_like(args[3], -50.0)
    reset, lengths = np.zeros((BATCH, time), bool), np.full(BATCH, time, np.int32)
    got, wanted = (function(args, reset, lengths, weights)[5] for function in (run, reference))
    # Not divided by the norm: squared entries are near float32's smallest numbers.
    np.testing.assert_allclose(np.asarray(got, np.float64) * 1e21, wanted * 1e21, rtol=1e-4, atol=1e-5)


def test_the_adjoint_is_the_oracles():
    """Along random directions, by complex steps."""
    time, step, rng = 13, 1e-30, np.random.default_rng(3)
    args, (reset, lengths), weights = inputs(time, dtype=np.float64), masks(time), cotangents(time, np.float64)
    for index, gradient in enumerate(reference(args, reset, lengths, weights)[2:]):
        direction = rng.standard_normal(gradient.shape)
        moved = [a + 1j * step * direction if i == index else a for i, a in enumerate(args)]
        outputs = oracles.rwkv6(*moved, reset, lengths)
        derivative = sum(np.sum(a.imag * w) for a, w in zip(outputs, weights, strict=True)) / step
        assert derivative == pytest.approx(np.vdot(gradient, direction), rel=1e-10)


def test_dtypes():
    narrow = jax.eval_shape(rwkv6, *(jnp.asarray(a, jnp.bfloat16) for a in inputs(40)[:5]))
    assert (narrow[0].dtype, narrow[1].dtype) == (jnp.bfloat16, jnp.float32)


def test_nothing_passes_a_reset_or_enters_from_padding():
    """In values and gradients, not even a rounding error."""
    time, at = 2 * CHUNK + 5, 9
    args, weights = inputs(time), cotangents(time, np.float32)
    r, k, v, log_w, u, S = args
    reset, lengths = np.zeros((BATCH, time), bool), np.array([time, 15], np.int32)
    reset[:, at] = True
    padding = (np.arange(time) >= lengths[:, None])[..., None, None]
    before = (np.arange(time) < at)[:, None, None]
    weights = np.where(before, np.float32(0), weights[0]), weights[1]
    clean = run(args, reset, lengths, weights)
    changed = [np.where(padding, np.nan, np.where(before, a + 1, a)).astype(np.float32) for a in (r, k, v)]
    log_w = np.where(padding, np.nan, np.where(before, 2 * log_w, log_w)).astype(np.float32)
    dirty = run([*changed, log_w, u, S + 1], reset, lengths, weights)
    for name, a, b in zip(NAMES, clean, dirty, strict=True):
        hidden = name in ("o", "dr", "dk", "dv", "dlog_w")
        np.testing.assert_array_equal(a[:, at:] if hidden else a, b[:, at:] if hidden else b, err_msg=name)
        if hidden and name != "o":
            assert not np.any(a[:, :at]), name
            assert not np.any(np.where(padding, a, 0)), name
    assert not np.any(clean[-1])


def test_usage_errors():
    r, k, v, log_w, u, _ = inputs(4)
    for misfit in ((r[..., :2], k, v, log_w, u), (r, k, v[:, :3], log_w, u), (r, k, v, log_w, u[:1])):
        with pytest.raises(
            UsageError, match=r"rwkv6 got r .*; wanted r \[B,T,H,K\], .*u \[H,K\]: \w+ has [KTH] = \d, not \d$"
        ):
            rwkv6(*misfit)


def test_long_memories():
    """20,000 steps, decays down to 1e-5 per step, in chunks and stepwise; rounding each e^(log w) would cost 2e-4."""
    time, rng = 20_000, np.random.default_rng(0)
    r, k = np.abs(rng.standard_normal((2, 1, time, 1, 4))).astype(np.float32)
    v = np.abs(rng.standard_normal((1, time, 1, 2))).astype(np.float32)
    log_w = np.broadcast_to(-np.geomspace(1e-3, 1e-5, 4), r.shape).astype(np.float32)
    u = np.zeros((1, 4), np.float32)
    # Closed form: S = sum_s e^(log w (T - 1 - s)) k_s v_s^T.
    kept = np.exp(np.arange(time)[::-1, None] * log_w[0, 0, 0].astype(np.float64))
    wanted = np.einsum("tk,tv->kv", kept * k[0, :, 0], v[0, :, 0].astype(np.float64))[None, None]

    def step(S, inputs):
        return rwkv6(*(a[:, None] for a in inputs), jnp.asarray(u), state=S)[1], None

    steps = [jnp.moveaxis(a, 1, 0) for a in (r, k, v, log_w)]
    one_by_one, _ = jax.jit(lambda *a: jax.lax.scan(step, jnp.zeros((1, 1, 4, 2)), a))(*steps)
    in_chunks = jax.jit(rwkv6)(r, k, v, log_w, u)[1]
    assert error(in_chunks, wanted) < 2e-6 and error(one_by_one, wanted) < 5e-6
