"""Retention, gated linear attention and SSD: every implementation of the core against the op's own recurrence."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.linear_cases import (
    CASES,
    LIMITS,
    NAMES,
    PARAMETERS,
    Case,
    cotangents,
    error,
    inputs,
    oracle,
    reference,
    run,
)
from xlstm_jax.ops.linear_attention import ssd
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS

pytestmark = pytest.mark.usefixtures("rolled")

each_op = pytest.mark.parametrize("op", list(NAMES))


def slow(op, implementation):
    """Marks: interpreted kernels take the longest to compile, and are the same for all ops."""
    return [pytest.mark.slow] * (implementation == "pallas" and op != "gated_linear_attention")


each_pair = pytest.mark.parametrize(
    ("op", "implementation"),
    [pytest.param(op, name, marks=[pytest.mark.slow] * (name == "pallas")) for op in NAMES for name in IMPLEMENTATIONS],
)


def check(op, implementation, case, dtype):
    args, reset, lengths = inputs(op, case, dtype)
    outputs, gradients = run(op, implementation, args, reset, lengths, cotangents(case.time, dtype))
    wanted, wanted_gradients = reference(op, case, dtype)
    assert [a.dtype for a in outputs] == [jnp.dtype(dtype), np.promote_types(jnp.dtype(dtype), np.float32)]
    for name, got, true in zip(("o", "S"), outputs, wanted, strict=True):
        assert error(got, true) <= LIMITS[dtype][0], name
    for (name, got), given in zip(gradients.items(), args, strict=True):
        assert got.dtype == given.dtype
        assert error(got, wanted_gradients[name]) <= LIMITS[dtype][1], f"gradient of {name}"


@pytest.mark.parametrize(
    ("case", "implementation", "op"),
    [
        # A single step is the same for all ops: the recurrent form for each, the other forms for one.
        pytest.param(case, name, op, id=f"{case!r}-{name}-{op}", marks=slow(op, name))
        for case, name, op in itertools.product(CASES, IMPLEMENTATIONS, NAMES)
        if case.time > 1 or name == "recurrent" or op == "gated_linear_attention"
    ],
)
def test_outputs_and_gradients(op, implementation, case):
    check(op, implementation, case, "float32")


@each_pair
def test_float64(op, implementation, x64):
    check(op, implementation, CASES[6], "float64")


@each_pair
def test_bfloat16(op, implementation):
    check(op, implementation, CASES[6], "bfloat16")


@each_op
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_reference_gradients_equal_the_oracles(op, case):
    """Along random directions, by complex steps: Im L(x + i e d) / e is exact, since nothing cancels."""
    args, reset, lengths = inputs(op, case)
    weights, rng, step = cotangents(case.time, "float32"), np.random.default_rng(3), 1e-30
    for index, gradient in enumerate(reference(op, case)[1].values()):
        direction = rng.standard_normal(gradient.shape)
        moved = [a + 1j * step * direction if i == index else a.astype(np.float64) for i, a in enumerate(args)]
        outputs = oracle(op, moved, reset, lengths)
        derivative = sum(np.sum(a.imag * w) for a, w in zip(outputs, weights, strict=True)) / step
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert abs(np.vdot(gradient, direction) - derivative) <= 1e-12 * scale


@each_pair
def test_state_goes_on(op, implementation):
    """Two calls with the state passed on equal the oracle's single pass over both sequences."""
    case, parts = Case(75), []
    args, reset, lengths = inputs(op, case)
    weights = cotangents(75, "float32")
    state = args[-1]
    other = [a if name in PARAMETERS else a[:, ::-1] for name, a in zip(NAMES[op], args, strict=True)]
    for part in (args, other):
        (o, state), _ = run(op, implementation, [*part[:-1], state], reset, lengths, weights)
        parts.append(o)
    joined = [
        a if name in PARAMETERS else np.concatenate([a, b], axis=1)
        for name, a, b in zip(NAMES[op], args, other, strict=True)
    ]
    wanted, wanted_state = oracle(op, joined, np.tile(reset, 2), 2 * lengths)
    assert error(np.concatenate(parts, axis=1), wanted) < 1e-5
    assert error(state, wanted_state) < 1e-5


@each_pair
def test_causality(op, implementation):
    """Outputs up to a step do not depend on later steps, in values or gradients."""
    at = 37
    args, reset, lengths = inputs(op, Case(75))
    do, dS = cotangents(75, "float32")
    weights = np.where((np.arange(75) < at)[:, None, None], do, np.float32(0)), 0 * dS
    (o, _), gradients = run(op, implementation, args, reset, lengths, weights)
    timed = [name for name in NAMES[op] if name not in PARAMETERS]
    for name in timed:
        assert not np.any(gradients[name][:, at:]) and np.any(gradients[name][:, at - 1]), name
    later = [np.array(a) for a in args]
    for name, a in zip(NAMES[op], later, strict=True):
        if name in timed:
            a[:, at:] *= 2
    (changed, _), _ = run(op, implementation, later, reset, lengths, weights)
    np.testing.assert_array_equal(changed[:, :at], o[:, :at])
    assert error(changed[:, at:], o[:, at:]) > 0.1


@each_pair
def test_nothing_passes_a_reset(op, implementation):
    """Outputs from a reset on, and the state, have no gradient before it."""
    at = 37
    args, reset, lengths = inputs(op, Case(75, reset=((0, at), (1, at))))
    do, dS = cotangents(75, "float32")
    weights = np.where((np.arange(75) < at)[:, None, None], np.float32(0), do), dS
    _, gradients = run(op, implementation, args, reset, lengths, weights)
    assert not np.any(gradients["state"])
    for name in (name for name in NAMES[op] if name not in PARAMETERS):
        assert not np.any(gradients[name][:, :at]) and np.any(gradients[name][:, at:]), name


@each_pair
def test_nan_in_padding_reaches_nothing(op, implementation):
    """Outputs, the state and gradients are unaffected, including gradients at the padded steps."""
    args, reset, lengths = inputs(op, CASES[6])
    weights = cotangents(75, "float32")
    padding = np.arange(75) >= np.asarray(lengths)[:, None]
    spoilt = [np.array(a) for a in args]
    for name, a in zip(NAMES[op], spoilt, strict=True):
        if name not in PARAMETERS:
            a[padding] = np.nan
    clean, dirty = (run(op, implementation, a, reset, lengths, weights) for a in (args, spoilt))
    for got, wanted in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert not np.any(clean[0][0][padding])
    assert not any(np.any(g[padding]) for name, g in clean[1].items() if name not in PARAMETERS)


def test_a_step_of_size_zero_in_ssd():
    """It does not write or forget, and all gradients stay finite."""
    args, reset, lengths = inputs("ssd", Case(75))
    args[1][:, ::3] = 0
    outputs, gradients = run("ssd", "chunkwise", args, reset, lengths, cotangents(75, "float32"))
    wanted = oracle("ssd", args, reset, lengths)
    assert all(error(a, b) < 1e-5 for a, b in zip(outputs, wanted, strict=True))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients.values())


def test_ssd_without_a_skip():
    args, reset, lengths = inputs("ssd", Case(7))
    x, dt, A, B, C, D, state = args
    got, _ = jax.jit(ssd)(x, dt, A, B, C, state=state)
    wanted, _ = oracle("ssd", [x, dt, A, B, C, 0 * D, state], reset, lengths)
    assert error(got, wanted) < 1e-5
