"""Gates that shut, at one step, at several, at all: every form of the linear recurrences against NumPy, down to -inf.

Gates of e^-1e9 or e^-inf are used as masks. Nothing from before such a step is left, in values or gradients, and later
steps stay accurate.
"""

import functools

import numpy as np
import pytest

from tests.ops.linear_cases import CASES, LIMITS, NAMES, Case, cotangents, error, inputs, oracle, run
from tests.oracles.linear_attention import adjoint
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS

pytestmark = pytest.mark.usefixtures("rolled")

each_pair = pytest.mark.parametrize(
    ("op", "implementation"),
    [
        pytest.param(op, name, marks=[pytest.mark.slow] * (name == "pallas" and op != "gated_linear_attention"))
        for op in NAMES
        for name in IMPLEMENTATIONS
    ],
)
SHUT = (-90.0, -1e4, -1e6, -1e9, -np.inf)
AT = [3, 20, 21, 30, 47, 48, 60]  # one or several in a chunk of 16, including first and last steps


def shut(op, args, value, everywhere=False):
    """The arguments with log gates of `value`; for retention and SSD's A, the gate of one head."""
    args = [np.array(a) for a in args]
    gate = args[NAMES[op].index({"retention": "log_decay", "gated_linear_attention": "log_f", "ssd": "A"}[op])]
    if op == "gated_linear_attention":
        gate[:, slice(None) if everywhere else AT] = value
    else:
        gate[slice(None) if everywhere else 1] = value
    return args


def wanted_gradients(op, args, reset, lengths, weights):
    """By the oracle's adjoint and the chain rule; a gradient of 0 stays 0, whatever the factor."""
    args, weights = ([np.asarray(a, np.float64) for a in arrays] for arrays in (args, weights))
    reset, lengths, bonus = np.asarray(reset), np.asarray(lengths), None

    def run_adjoint(q, k, v, log_f, state, do=weights[0]):
        decay = np.exp(np.broadcast_to(log_f[..., None], q.shape))
        dq, dk, dv, dlog, _, dstate = adjoint(q, k, v, decay, bonus, state, reset, lengths, do, weights[1])
        return dq, dk, dv, dlog.sum(axis=-1), dstate

    if op != "ssd":
        q, k, v, log_f, state = args
        *gradients, dlog, dstate = run_adjoint(q, k, v, np.broadcast_to(log_f, q.shape[:3]), state)
        return *gradients, dlog.sum(axis=(0, 1)) if op == "retention" else dlog, dstate
    x, dt, A, B, C, D, state = args
    there = (np.arange(x.shape[1]) < lengths[:, None])[..., None, None]
    do = np.where(there, weights[0], 0)
    wide_B, wide_C = (np.repeat(a, x.shape[2] // a.shape[2], axis=2) for a in (B, C))
    dC, dk, dx, dlog, dstate = run_adjoint(wide_C, dt[..., None] * wide_B, x, dt * A, state, do)
    by_A = np.where(dlog == 0, 0, A * np.where(dlog == 0, 1, dlog))

    def grouped(a):
        return a.reshape(*B.shape[:3], -1, B.shape[3]).sum(axis=3)

    ddt = by_A + np.sum(dk * wide_B, axis=-1)
    dB, dD = grouped(dt[..., None] * dk), np.sum(do * x, axis=(0, 1, 3))
    return dx + D[:, None] * do, ddt, np.sum(dt * dlog, axis=(0, 1)), dB, grouped(dC), dD, dstate


@functools.cache
def case_of(op, case, dtype, value, everywhere):
    """Arguments, masks and cotangents, and the oracle's outputs and gradients."""
    args, reset, lengths = inputs(op, case, dtype)
    args, weights = shut(op, args, value, everywhere), cotangents(case.time, dtype)
    with np.errstate(invalid="ignore"):
        wanted = oracle(op, args, reset, lengths), wanted_gradients(op, args, reset, lengths, weights)
    return (args, reset, lengths, weights), wanted


def check(op, implementation, case, dtype, value, everywhere=False):
    given, (wanted, wanted_gradients) = case_of(op, case, dtype, value, everywhere)
    outputs, gradients = run(op, implementation, *given)
    for name, got, true in zip("oS", outputs, wanted, strict=True):
        assert error(got, true) <= LIMITS[dtype][0], (name, value)
    for (name, got), true in zip(gradients.items(), wanted_gradients, strict=True):
        assert error(got, true) <= LIMITS[dtype][1], (f"gradient of {name}", value)


@each_pair
def test_values_and_gradients(op, implementation):
    for value in SHUT:
        check(op, implementation, Case(75), "float32", value)
    check(op, implementation, Case(75), "float32", -np.inf, everywhere=True)
    check(op, implementation, CASES[6], "float32", -np.inf)


@each_pair
def test_float64(op, implementation, x64):
    for value in (-1e6, -np.inf):
        check(op, implementation, CASES[6], "float64", value)


def test_the_adjoint_is_the_oracles():
    """Along random directions, by complex steps."""
    case, step = CASES[6], 1e-30
    args, reset, lengths = inputs("gated_linear_attention", case)
    weights, rng = cotangents(case.time, "float32"), np.random.default_rng(3)
    gradients = wanted_gradients("gated_linear_attention", args, reset, lengths, weights)
    for index, gradient in enumerate(gradients):
        direction = rng.standard_normal(gradient.shape)
        moved = [a + 1j * step * direction if i == index else a.astype(np.float64) for i, a in enumerate(args)]
        outputs = oracle("gated_linear_attention", moved, reset, lengths)
        derivative = sum(np.sum(a.imag * w) for a, w in zip(outputs, weights, strict=True)) / step
        assert derivative == pytest.approx(np.vdot(gradient, direction), rel=1e-10)
