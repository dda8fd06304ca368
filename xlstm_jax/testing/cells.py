"""Checks that every sequence cell must pass. Each check takes an example of any cell, and raises if it fails.

    for example in examples_of("foo"):
        for check in CHECKS:
            check(example)

Most checks run in float64, where rounding is far below the effect of a mistake. All of them run under strict promotion.
They cannot tell whether a cell's equations match its paper.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.testing.compare import assert_close, assert_own_buffers, dot, normal_like
from xlstm_jax.testing.examples import BATCH, Example

T, HALF = 6, 3
FULL = np.full(BATCH, T)
LENGTHS = np.array([6, 4])
RESET = np.zeros((BATCH, T), bool)
RESET[0, [2, 3]] = True  # at two consecutive steps
RESET[1, [0, 5]] = True  # at the first step, and in the padding of LENGTHS
NO_RESET = np.zeros_like(RESET)
HOLES = np.array([[False, True, False, True, True, True], [True, True, True, True, False, True]])  # before documents

CHECKS: list[Callable[[Example], None]] = []


def _check(check: Callable[[Example], None]) -> Callable[[Example], None]:
    """Decorator: adds a check to `CHECKS` and runs it under strict promotion with float64 enabled."""

    @functools.wraps(check)
    def run(example: Example) -> None:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            check(example)

    CHECKS.append(run)
    return run


@functools.cache
def compiled(example: Example):
    """(run, pull, step), shared by all checks of an example; `run` and `pull` share one compilation per shape.

    run(params, x, carry, lengths, reset) -> (y, carry); pull(dy, dcarry, *same arguments) -> gradients of params, x and
    carry; step(params, carry, x_t) -> (carry, y_t).
    """

    @jax.jit
    def forward(params, x, carry, lengths, reset):
        return recurrence(example.cell, params, x, carry=carry, lengths_B=lengths, reset_BT=reset)

    @jax.jit
    def both(cotangents, params, x, carry, lengths, reset):
        after, pullback = jax.vjp(lambda *args: forward(*args, lengths, reset), params, x, carry)
        return after, pullback(cotangents)

    def run(*args):
        return both(jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), jax.eval_shape(forward, *args)), *args)[0]

    def pull(dy, dcarry, *args):
        return both((dy, dcarry), *args)[1]

    def step(params, carry, x):
        u = jax.tree.map(lambda leaf: leaf[:, 0], example.cell.project(params, x[:, None]))
        return example.cell.step(params, carry, u)

    return run, pull, jax.jit(step)


def given(example: Example, seed: int = 0) -> tuple[Any, jax.Array, Any]:
    """params, x and the carry after some steps, in float64."""
    params, run = example.params(np.float64, seed), compiled(example)[0]
    x, earlier = (example.inputs(T, np.float64, 2 * seed + n) for n in (1, 2))
    return params, x, run(params, earlier, example.start(np.float64), FULL, NO_RESET)[1]


def gradients(example: Example, dy, params, x, carry, lengths, reset):
    """Gradients of sum(dy * y) with respect to params, x and carry."""
    return compiled(example)[1](dy, jax.tree.map(jnp.zeros_like, carry), params, x, carry, lengths, reset)


@_check
def float32_in_float32_out(example):
    """y has x's dtype, the carry is float32 with the shapes of `init_carry`; x64 mode changes neither."""
    for wide in (False, True):
        with jax.enable_x64(wide):
            params, x = example.cell.init(jax.random.key(0), example.config), example.inputs(T, np.float32)
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(np.float32)}
            start = example.cell.init_carry(example.config, (BATCH,))
            y, carry = jax.eval_shape(functools.partial(recurrence, example.cell), params, x)
            several = jax.eval_shape(lambda: example.cell.init_carry(example.config, (5, 7)))
        assert y.dtype == np.float32 and y.shape[: x.ndim - 1] == x.shape[:-1]
        for after, before, many in zip(*map(jax.tree.leaves, (carry, start, several)), strict=True):
            assert after.shape == before.shape and after.dtype == np.float32
            assert many.shape == (5, 7, *before.shape[1:])
        assert jax.tree.structure(carry) == jax.tree.structure(start)


@_check
def own_buffers(example):
    """No two leaves of the weights, or of the initial carry, share memory, so all of them can be donated."""
    assert_own_buffers(example.cell.init(jax.random.key(0), example.config))
    for batch_shape in ((), (BATCH,)):
        assert_own_buffers(example.cell.init_carry(example.config, batch_shape))


@_check
def bfloat16(example):
    """With weights and inputs in bfloat16, y is bfloat16 and close to the float64 result; the carry is float32."""
    params, x = example.params(jnp.bfloat16), example.inputs(T, jnp.bfloat16)
    y, carry = jax.jit(functools.partial(recurrence, example.cell))(params, x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(np.float32)}
    params, x = jax.tree.map(lambda leaf: leaf.astype(np.float64), (params, x))
    wanted, _ = compiled(example)[0](params, x, example.start(np.float64), FULL, NO_RESET)
    y = np.asarray(y, np.float64)
    assert np.isfinite(y).all()
    assert np.linalg.norm(y - wanted) <= 0.03 * np.linalg.norm(wanted)


@_check
def scan_equals_python_loop(example):
    """With lengths and resets, the scan equals calls of `step` in a Python loop that applies them outside the cell."""
    run, _, step = compiled(example)
    params, x, carry = given(example)
    start = example.start(np.float64)

    def pick(flags, new, old):
        return jax.tree.map(lambda a, b: jnp.stack([(b, a)[int(flag)][j] for j, flag in enumerate(flags)]), new, old)

    wanted, state = [], carry
    for t in range(T):
        after, y = step(params, pick(RESET[:, t], start, state), x[:, t])
        state = pick(t < LENGTHS, after, state)
        wanted.append(pick(t < LENGTHS, y, jnp.zeros_like(y)))
    assert_close(run(params, x, carry, LENGTHS, RESET), (jnp.stack(wanted, axis=1), state))


@_check
def gradients_equal_finite_differences(example):
    """Along random directions of the weights, the inputs and the initial carry, through resets and padding."""
    args, run = given(example), compiled(example)[0]
    dy, step = normal_like(run(*args, FULL, NO_RESET)[0], 3), 1e-7
    for lengths, reset in ((FULL, NO_RESET), (LENGTHS, RESET)):
        for which, gradient in enumerate(gradients(example, dy, *args, lengths, reset)):
            direction = normal_like(args[which], 4)

            def loss(steps, which=which, direction=direction, lengths=lengths, reset=reset):
                moved = list(args)
                moved[which] = jax.tree.map(lambda a, b: a + steps * step * b, args[which], direction)
                return float(jnp.sum(dy * run(*moved, lengths, reset)[0]))

            # Fourth order, because an mLSTM curves sharply if its n.q is close to zero.
            difference = (8 * (loss(1) - loss(-1)) - (loss(2) - loss(-2))) / (12 * step)
            assert abs(dot(gradient, direction) - difference) <= 1e-6 * max(1.0, abs(difference))


@_check
def split(example):
    """T = T1 + T2 steps in one run equal two runs with the carry passed on: values, gradients, resets and padding."""
    run, pull, _ = compiled(example)
    params, x, carry = given(example)
    y, last = run(params, x, carry, LENGTHS, RESET)
    dy = normal_like(y, 3)
    first = (params, x[:, :HALF], carry, np.minimum(LENGTHS, HALF), RESET[:, :HALF])
    y1, middle = run(*first)
    second = (params, x[:, HALF:], middle, np.maximum(LENGTHS - HALF, 0), RESET[:, HALF:])
    y2, end = run(*second)
    assert_close((jnp.concatenate([y1, y2], axis=1), end), (y, last))
    dparams2, dx2, dmiddle = gradients(example, dy[:, HALF:], *second)
    dparams1, dx1, dcarry = pull(dy[:, :HALF], dmiddle, *first)
    parts = jax.tree.map(jnp.add, dparams1, dparams2), jnp.concatenate([dx1, dx2], axis=1), dcarry
    assert_close(parts, gradients(example, dy, params, x, carry, LENGTHS, RESET))


@_check
def padding(example):
    """Padding has zero output, zero gradient and no effect; the carry is that of the sequences without padding."""
    run, _, _ = compiled(example)
    params, x, carry = given(example)
    padded_BT = np.arange(T) >= LENGTHS[:, None]
    garbage = jnp.where(padded_BT.reshape(BATCH, T, *(1,) * (x.ndim - 2)), 1e3, x)
    y, last = run(params, x, carry, LENGTHS, NO_RESET)
    assert not np.asarray(y)[padded_BT].any()
    assert_close(run(params, garbage, carry, LENGTHS, NO_RESET), (y, last), limit=0)
    dy = normal_like(y, 3)
    wanted = gradients(example, dy, params, x, carry, LENGTHS, NO_RESET)
    assert_close(gradients(example, dy, params, garbage, carry, LENGTHS, NO_RESET), wanted, limit=0)
    assert not np.asarray(wanted[1])[padded_BT].any()
    short = run(params, x[:, :HALF], carry, np.full(BATCH, HALF), NO_RESET[:, :HALF])
    padded = run(params, x, carry, np.full(BATCH, HALF), NO_RESET)
    assert_close((padded[0][:, :HALF], padded[1]), short)


@_check
def reset(example):
    """A reset splits a run into two: nothing passes it, in values or gradients."""
    run, _, _ = compiled(example)
    params, x, carry = given(example)
    reset_BT = NO_RESET.copy()
    reset_BT[:, HALF] = True
    y, last = run(params, x, carry, FULL, reset_BT)
    none, half = NO_RESET[:, :HALF], np.full(BATCH, HALF)
    start = example.start(np.float64)
    before, _ = run(params, x[:, :HALF], carry, half, none)
    after, wanted = run(params, x[:, HALF:], start, half, none)
    assert_close((y, last), (jnp.concatenate([before, after], axis=1), wanted))
    other = jax.tree.map(lambda leaf: leaf + 1, carry)
    changed, same = run(params, x.at[:, :HALF].add(1), other, FULL, reset_BT)
    assert_close((changed[:, HALF:], same), (y[:, HALF:], last), limit=0)
    assert np.max(np.abs(changed[:, :HALF] - y[:, :HALF])) > 1e-3
    dy = normal_like(y, 3).at[:, :HALF].set(0)
    _, dx, dcarry = gradients(example, dy, params, x, carry, FULL, reset_BT)
    assert not np.asarray(dx[:, :HALF]).any() and np.asarray(dx[:, HALF:]).any()
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(dcarry))


@_check
def causality(example):
    """Later inputs change no earlier output; earlier inputs change all later outputs."""
    run, _, _ = compiled(example)
    params, x, carry = given(example)
    y, _ = run(params, x, carry, FULL, NO_RESET)
    changed, _ = run(params, x.at[:, HALF:].add(1), carry, FULL, NO_RESET)
    assert_close(changed[:, :HALF], y[:, :HALF], limit=0)
    dy = jnp.zeros_like(y).at[:, HALF].set(normal_like(y[:, HALF], 3))
    _, dx, dcarry = gradients(example, dy, params, x, carry, FULL, NO_RESET)
    reached = np.abs(np.asarray(dx)).reshape(BATCH, T, -1).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(reached, np.arange(T) <= HALF)
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(dcarry))


@_check
def reverse(example):
    """`reverse` equals flipping the unpadded steps, a forward run, and flipping back, with resets at document starts.

    Checked with padding on the right and with padding anywhere.
    """
    run, _, _ = compiled(example)
    params, x, carry = given(example)
    backwards = jax.jit(functools.partial(recurrence, example.cell, reverse=True))
    rows = np.arange(BATCH)[:, None]
    for mask in (np.arange(T) < LENGTHS[:, None], HOLES):
        order, reset, lengths = np.zeros((BATCH, T), int), np.zeros((BATCH, T), bool), mask.sum(axis=1)
        for b in range(BATCH):
            here = np.flatnonzero(mask[b])
            order[b] = np.r_[here[::-1], np.flatnonzero(~mask[b])]
            for step in range(1, len(here)):  # whether a document began between two steps that are now adjacent
                reset[b, len(here) - step] = RESET[b, here[step - 1] + 1 : here[step] + 1].any()
        back = np.argsort(order, axis=1)
        y, last = run(params, x[rows, order], carry, lengths, reset)
        assert_close(backwards(params, x, carry=carry, mask_BT=mask, reset_BT=RESET), (y[rows, back], last))


@_check
def vmap(example):
    """`vmap` over weights, inputs and carries at once, as for an ensemble."""
    run, _, _ = compiled(example)
    members = [given(example, seed) for seed in (0, 5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)

    def one(params, x, carry):
        return recurrence(example.cell, params, x, carry=carry, lengths_B=LENGTHS, reset_BT=RESET)

    got = jax.jit(jax.vmap(one))(*stacked)
    wanted = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[run(*member, LENGTHS, RESET) for member in members])
    assert_close(got, wanted)
