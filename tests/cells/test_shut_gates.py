"""Cells that are linear in their carry, with gates fully shut or open, down to -inf: each form compared with NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.cells.base import HiddenCarry, LinearCell
from xlstm_jax.ops.recurrence import recurrence

T, F = 40, 6
# The sigmoid of -85 is a normal float32 number. A smaller one would be 0, and times RG-LRU's -1e30 that matters.
EXTREME = np.array([-np.inf, -1e9, -1e4, -85.0, -2.0, 0.5, 85.0, 1e9, np.inf])
LAMBDA = np.array([2.0, -90.0, -1e4, -1e9, -np.inf, 90.0])


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def slope(x):
    return sigmoid(x) * sigmoid(-x)


def normal(seed, *shape):
    """Random numbers that do not depend on earlier tests, and that float32 represents exactly."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(np.float64)


def preactivations(gates):
    """[T, F] for each gate, minus infinity for all gates at one step, and [T, F] for the gated input."""
    gates = np.random.default_rng(0).choice(EXTREME, (gates, T, F))
    gates[:, 5] = -np.inf
    return *gates, normal(1, T, F)


def mingru():
    """Pre-activations, a and b of h' = a h + b, and the pre-activations' gradients from those of a and b."""
    z, n = preactivations(1)
    return (z, n), sigmoid(-z), sigmoid(z) * n, lambda da, db: (slope(z) * (n * db - da), sigmoid(z) * db)


def minlstm():
    f, i, n = preactivations(2)
    both = np.isneginf(f) & np.isneginf(i)
    with np.errstate(invalid="ignore"):
        ratio = np.where(both, 0, np.logaddexp(0, -i) - np.logaddexp(0, -f))

    def back(da, db):
        dratio = np.where(both, 0, slope(ratio) * (da - n * db))
        return dratio * sigmoid(-f), -dratio * sigmoid(-i), sigmoid(-ratio) * db

    return (f, i, n), sigmoid(ratio), sigmoid(-ratio) * n, back


def rglru():
    r, i, x = preactivations(2)
    log_sigmoid = np.maximum(-np.logaddexp(0, -LAMBDA), -1e30)
    log_a = 8 * sigmoid(r) * log_sigmoid
    a, room = np.exp(log_a), -np.expm1(2 * log_a)
    root = np.sqrt(room)

    def back(da, db):
        # If a rounds to 1, the root has no gradient.
        droot = np.where(room > 0, -(a**2) / np.where(room > 0, root, 1), 0)
        dlog_a = a * da + droot * sigmoid(i) * x * db
        return root * sigmoid(i) * db, slope(r) * 8 * log_sigmoid * dlog_a, slope(i) * root * x * db

    return (x, r, i), a, root * sigmoid(i) * x, back


CASES = {"mingru": mingru, "minlstm": minlstm, "rglru": rglru}
LINEAR = [name for name in CELLS.names() if issubclass(CELLS.get(name), LinearCell)]


def given_gates(name, width):
    """The cell with its pre-activations, `width` per step, as inputs: weights would turn infinite ones into NaN."""

    class Gates(CELLS.get(name)):
        @staticmethod
        def input_sizes(config):
            return {"D": width}

        @staticmethod
        def project(params, x_BTD):
            return jnp.split(x_BTD, 3, axis=-1) if name == "rglru" else x_BTD

    return Gates


@functools.cache
def case(name):
    """Pre-activations [T, G F], the initial h and loss weights; y and the gradients of the first two by hand."""
    u, a, b, back = CASES[name]()
    h, dy = [normal(2, F)], normal(3, T, F)
    for t in range(T):
        h.append(a[t] * h[-1] + b[t])
    g, da, db = np.zeros(F), np.zeros((T, F)), np.zeros((T, F))
    for t in reversed(range(T)):
        g = g + dy[t]
        da[t], db[t] = g * h[t], g
        g = a[t] * g
    return np.concatenate(u, axis=1), h[0], dy, (np.stack(h[1:]), np.concatenate(back(da, db), axis=1), g)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("implementation", ["scan", "associative"])
@pytest.mark.parametrize("name", LINEAR)
def test_values_and_gradients(name, implementation, dtype):
    u, h, dy, wanted = case(name)

    Gates = given_gates(name, u.shape[-1])

    def outputs(u_TD, h_F):
        params = CellParams(Gates.Config(F, F), {"lambda": jnp.asarray(LAMBDA, u_TD.dtype)})
        start = HiddenCarry(h_F[None])
        return recurrence(Gates, params, u_TD[None], carry=start, implementation=implementation)[0][0]

    @jax.jit
    def run(u_TD, h_F, dy_TF):
        y_TF, pullback = jax.vjp(outputs, u_TD, h_F)
        return y_TF, *pullback(dy_TF)

    with jax.enable_x64(dtype == "float64"):
        got = run(*(jnp.asarray(a, dtype) for a in (u, h, dy)))
    for a, true in zip(got, wanted, strict=True):
        assert a.dtype == dtype
        limit = {"float32": 1e-5, "float64": 1e-12}[dtype]
        assert np.linalg.norm(np.asarray(a, np.float64) - true) <= limit * np.linalg.norm(true)
