"""The scan of cells that are linear in their carry, with memories of 10,000 steps and more, compared with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cells.test_shut_gates import CASES, LINEAR, given_gates, normal, sigmoid
from xlstm_jax.cells import CellParams
from xlstm_jax.ops.recurrence import recurrence

T, F = 20_000, 8
LOGIT = np.linspace(-7, -12, F)  # the logit of 1 - a, or close to it


def gates(name, x):
    """Pre-activations [T, G F], with the same gates at all steps, and a, b of h' = a h + b in float64."""
    z = np.broadcast_to(LOGIT, x.shape)
    if name == "mingru":
        return np.concatenate([z, x], axis=1), lambda z, x: (sigmoid(-z), sigmoid(z) * x)
    if name == "minlstm":
        return np.concatenate([-z, z, x], axis=1), lambda f, i, x: (
            sigmoid(f) / (sigmoid(f) + sigmoid(i)),
            sigmoid(i) / (sigmoid(f) + sigmoid(i)) * x,
        )

    def rglru(x, r, i):
        log_a = 8 * sigmoid(r) * np.log(0.5)
        return np.exp(log_a), np.sqrt(-np.expm1(2 * log_a)) * sigmoid(i) * x

    return np.concatenate([x, z, 0 * z], axis=1), rglru


def measured(name, x, dtype):
    u, coefficients = gates(name, x)
    u = jnp.asarray(u, dtype)

    Gates = given_gates(name, u.shape[1])
    params = CellParams(Gates.Config(F, F), {"lambda": jnp.zeros(F)})
    got = jax.jit(lambda u: recurrence(Gates, params, u[None], implementation="scan")[1].h[0])(u)
    a, b = coefficients(*np.split(np.asarray(u, np.float64), u.shape[1] // F, axis=1))
    h = np.zeros(F)
    for t in range(len(x)):
        h = a[t] * h + b[t]
    return np.linalg.norm(np.asarray(got, np.float64) - h) / np.linalg.norm(h)


@pytest.mark.parametrize("name", LINEAR)
def test_float32(name):
    """Without the correction for the rounding of a, the error would be 1e-4."""
    assert measured(name, np.abs(normal(0, T, F)), np.float32) < 5e-6


@pytest.mark.parametrize("name", LINEAR)
def test_bfloat16(name):
    """Gates are at least float32: in bfloat16 each a here would be 1, or below 0.997."""
    assert measured(name, np.abs(normal(0, 2000, F)), jnp.bfloat16) < 1e-5


def test_every_linear_cell_has_a_case():
    assert set(LINEAR) == set(CASES)
