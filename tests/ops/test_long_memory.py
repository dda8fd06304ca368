"""Memories over many steps: rounding errors with forget gates close to 1, in every form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.flags import USERS
from tests.ops.meshes import mesh
from xlstm_jax.cells.mlstm import zero_state
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.slstm import IMPLEMENTATIONS as SLSTM_IMPLEMENTATIONS
from xlstm_jax.ops.slstm import slstm

pytestmark = pytest.mark.usefixtures("rolled")

# One per head; each gate is rounded in a different direction.
FORGET = np.array([11.0, 12.0, 12.3], np.float32)
INPUT, KEYS = 10.0, 4
# Relative errors of n e^m and C e^m, and the median over steps of the error of h, whose n.q may nearly cancel.
LIMITS = {2_000: 1e-5, 100_000: 1e-4}


@functools.cache
def case(time: int):
    """q, k, v, i, f, float32, keys of random sign; and in float64 h [T,H,V] and the state without stabiliser."""
    rng, heads = np.random.default_rng(0), FORGET.size
    q, k, v = rng.standard_normal((3, 1, time, heads, KEYS)).astype(np.float32)
    i, f = np.full((1, time, heads), INPUT, np.float32), np.broadcast_to(FORGET, (1, time, heads))
    decay, write = 1 / (1 + np.exp(-FORGET.astype(np.float64))), np.exp(INPUT)
    C, n, h = np.zeros((heads, KEYS, KEYS)), np.zeros((heads, KEYS)), np.empty((time, heads, KEYS))
    for t, (q_t, k_t, v_t) in enumerate(zip(*(a[0].astype(np.float64) for a in (q, k, v)), strict=True)):
        C = decay[:, None, None] * C + write * k_t[:, :, None] * v_t[:, None, :]
        n = decay[:, None] * n + write * k_t
        nq = np.abs(np.sum(n * q_t, axis=-1, keepdims=True)) * KEYS**-0.5
        h[t] = np.einsum("hkv,hk->hv", C, q_t) * KEYS**-0.5 / np.maximum(nq, 1)
    return (q, k, v, i, f), h, C, n


def by_heads(got, wanted):
    """The error of each head [H, ...]."""
    got, wanted = (np.asarray(a, np.float64).reshape(FORGET.size, -1) for a in (got, wanted))
    return np.linalg.norm(got - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)


def held(run, time: int):
    arrays, h, C, n = case(time)
    got, state = jax.jit(run)(*arrays)
    scale = np.exp(np.asarray(state.m[0], np.float64))
    assert by_heads(state.n[0] * scale[:, None], n).max() <= LIMITS[time]
    assert by_heads(state.C[0] * scale[:, None, None], C).max() <= LIMITS[time]
    errors = np.linalg.norm(np.asarray(got[0], np.float64) - h, axis=-1) / np.linalg.norm(h, axis=-1)
    assert np.median(errors, axis=0).max() <= LIMITS[time]


def one_by_one(*arrays):
    """Like decoding: the op runs one step at a time with the state passed on."""
    batch, _, heads, keys = arrays[0].shape

    def step(state, inputs):
        h, state = mlstm(*(a[:, None] for a in inputs), state=state)
        return state, h[:, 0]

    start = zero_state((batch,), heads, keys, keys)
    state, h_TBHV = jax.lax.scan(step, start, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), arrays))
    return jnp.swapaxes(h_TBHV, 0, 1), state


# Chunks of a power of two of steps, and a size at which each chunk rounds.
FORMS = [("recurrent", None), ("parallel", None), ("chunkwise", None), ("chunkwise", 1), ("associative", None)]


@pytest.mark.parametrize(("implementation", "chunk"), [*FORMS, ("pallas", None)], ids=repr)
def test_mlstm(implementation, chunk):
    held(functools.partial(mlstm, implementation=implementation, chunk_size=chunk), 2_000)


def test_mlstm_step_by_step():
    held(one_by_one, 2_000)


def test_mlstm_over_devices():
    with jax.set_mesh(mesh(context=8)):
        held(functools.partial(mlstm, implementation="chunkwise"), 2_000)


@pytest.mark.slow
@pytest.mark.parametrize(("implementation", "chunk"), [form for form in FORMS if form[0] != "parallel"], ids=repr)
def test_mlstm_of_100_000_steps(implementation, chunk):
    held(functools.partial(mlstm, implementation=implementation, chunk_size=chunk), 100_000)


@pytest.mark.slow
def test_mlstm_of_100_000_steps_one_by_one():
    held(one_by_one, 100_000)


@pytest.mark.slow
def test_mlstm_of_100_000_steps_over_devices():
    with jax.set_mesh(mesh(context=8)):
        held(functools.partial(mlstm, implementation="chunkwise"), 100_000)


@pytest.mark.parametrize("implementation", list(SLSTM_IMPLEMENTATIONS))
@pytest.mark.parametrize("time", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_slstm(time, implementation):
    """Without recurrent weights, cells are the mLSTM's sums over steps for each feature."""
    (_, k, v, i, f), *_ = case(time)
    gates = [np.broadcast_to(gate[..., None], k.shape) for gate in (i, f)]
    heads = FORGET.size
    y, state = jax.jit(functools.partial(slstm, implementation=implementation), compiler_options=USERS)(
        jnp.stack([*gates, k, v], axis=2), jnp.zeros((4, heads, KEYS, KEYS), jnp.float32)
    )
    decay = 1 / (1 + np.exp(-FORGET.astype(np.float64)))[:, None]
    c, n, wanted = np.zeros((heads, KEYS)), np.zeros((heads, KEYS)), np.empty((time, heads, KEYS))
    z, o = np.tanh(k[0].astype(np.float64)), 1 / (1 + np.exp(-v[0].astype(np.float64)))
    for t in range(time):
        c, n = decay * c + z[t], decay * n + 1
        wanted[t] = o[t] * c / n
    scale = np.exp(np.asarray(state.m[0], np.float64) - INPUT)
    for got, of in (
        (state.n[0] * scale, n),
        (state.c[0] * scale, c),
        (jnp.swapaxes(y[0], 0, 1), wanted.swapaxes(0, 1)),
    ):
        assert by_heads(got, of).max() <= LIMITS[time]
