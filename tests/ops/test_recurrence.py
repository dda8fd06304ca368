"""`recurrence` and `masked_scan`, beyond the contract of cells: unrolling, starts, dtypes, reverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.ops.recurrence import masked_scan, recurrence, select
from xlstm_jax.ops.recurrence import scan as module

T = 11  # more than twice the unrolled steps, and not a multiple
RESET = np.zeros((2, T), bool)
RESET[0, [4, 5]] = RESET[1, 8] = True
LENGTHS = np.array([11, 9])


def counting(carry, u):
    """A step whose state shows its history: one decimal digit per step, the latest last."""
    carry = carry * 10 + u
    return carry, carry


def digits(*, reset_BT=None, lengths_B=None, **options):
    if reset_BT is not None:
        options["reset_TB"] = reset_BT.T
    if lengths_B is not None:
        options["padding_TB"] = np.arange(5)[:, None] >= lengths_B
    u_TB = jnp.asarray(np.tile(np.arange(1, 6, dtype=np.float32)[:, None], (1, 2)))
    zero = jnp.zeros(2, np.float32)
    last, y_TB = masked_scan(counting, options.pop("carry", zero), options.pop("start", zero), u_TB, **options)
    return np.asarray(last).tolist(), np.asarray(y_TB).T.tolist()


def test_plain_reset_and_padding():
    assert digits() == ([12345, 12345], [[1, 12, 123, 1234, 12345]] * 2)
    reset = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool)
    lengths = np.array([5, 3])
    wanted = [345, 123], [[1, 12, 3, 34, 345], [1, 12, 123, 0, 0]]
    assert digits(reset_BT=reset, lengths_B=lengths) == wanted


def test_reset_returns_to_the_start_not_to_the_carry():
    """A reset returns to a learned start; the given carry is used only at the first step."""
    carry, start = jnp.full(2, 7, np.float32), jnp.full(2, 9, np.float32)
    reset = np.array([[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]], bool)
    last, y = digits(carry=carry, start=start, reset_BT=reset)
    assert y == [[71, 712, 7123, 94, 945], [91, 912, 9123, 91234, 912345]] and last == [945, 912345]


def test_reverse_starts_at_each_sequence_s_own_end():
    reset = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    last, y = digits(reverse=True, reset_BT=reset, lengths_B=np.array([5, 3]))
    assert y == [[321, 32, 3, 54, 5], [321, 32, 3, 0, 0]] and last == [321, 321]


def test_gradient_reaches_the_start_through_resets_only():
    """The gradient of a learned start counts the steps after each reset."""
    reset = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    u_TB = jnp.ones((5, 2), np.float32)

    @jax.jit
    def loss(carry, start):
        add = masked_scan(lambda c, u: (c + u, c + u), carry, start, u_TB, reset_TB=reset.T)
        return jnp.sum(add[1])

    dcarry, dstart = jax.grad(loss, argnums=(0, 1))(jnp.zeros(2, np.float32), jnp.zeros(2, np.float32))
    assert np.asarray(dcarry).tolist() == [2, 5] and np.asarray(dstart).tolist() == [3, 0]


def test_empty_sequences_keep_their_carry():
    last, y = digits(carry=jnp.asarray([7, 8], np.float32), lengths_B=np.array([0, 1]))
    assert last == [7, 81] and y == [[0] * 5, [81, 0, 0, 0, 0]]


@pytest.mark.parametrize("name, reverse", [("gru", False), ("rnn", True)])
def test_unrolling_changes_nothing(name, reverse, monkeypatch, x64):
    """The default unrolling, which leaves a remainder at this T, against one step per iteration."""
    assert module.UNROLL > 1 and T > 2 * module.UNROLL and T % module.UNROLL
    cell = CELLS.get(name)
    params = cell.init(jax.random.key(0), cell.Config(in_features=3, features=4)).astype(np.float64)
    x = jax.random.normal(jax.random.key(1), (2, T, 3), np.float64)

    def run():
        def loss(params, x):
            y, carry = recurrence(cell, params, x, reset_BT=RESET, lengths_B=LENGTHS, reverse=reverse)
            return jnp.sum(y * y), (y, carry)

        return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)

    unrolled = run()
    monkeypatch.setattr(module, "UNROLL", 1)
    for a, b in zip(jax.tree.leaves(unrolled), jax.tree.leaves(run()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_no_carry_is_the_cells_own(x64):
    """It is float64 if the inputs are."""
    cell = CELLS.get("slstm")
    params = cell.init(jax.random.key(0), cell.Config(in_features=3, features=4))
    params = jax.tree.map(lambda w: w.astype(np.float64), params)
    x = jax.random.normal(jax.random.key(1), (2, 3, 3), np.float64)
    y, carry = jax.jit(lambda x: recurrence(cell, params, x))(x)
    start = jax.tree.map(lambda leaf: leaf.astype(np.float64), cell.init_carry(params.config, (2,)))
    again, same = jax.jit(lambda x: recurrence(cell, params, x, carry=start))(x)
    assert {leaf.dtype for leaf in jax.tree.leaves((y, carry))} == {jnp.dtype(np.float64)}
    for a, b in zip(jax.tree.leaves((y, carry)), jax.tree.leaves((again, same)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_select_leaf_by_leaf():
    flag = jnp.array([True, False])
    new, old = (jnp.ones(2), jnp.ones((2, 3))), (jnp.zeros(2), jnp.zeros((2, 3)))
    got = jax.tree.map(lambda a: np.asarray(a).tolist(), select(flag, new, old))
    assert got == ([1, 0], [[1, 1, 1], [0, 0, 0]])
