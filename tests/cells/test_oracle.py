"""Each cell against the equations of its paper in NumPy, with resets, padding and a first carry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cells.examples import examples
from tests.oracles import classic, mlstm, slstm
from xlstm_jax.ops.recurrence import recurrence

ORACLES = {
    "rnn": lambda config: functools.partial(classic.rnn, activation=config.activation),
    "lstm": lambda config: classic.lstm,
    "gru": lambda config: functools.partial(classic.gru, reset=config.reset),
    "slstm": lambda config: functools.partial(
        slstm.slstm_cell, input_gate=config.input_gate, forget_gate=config.forget_gate
    ),
    "mlstm": lambda config: functools.partial(
        mlstm.mlstm_cell, input_gate=config.input_gate, forget_gate=config.forget_gate
    ),
}
T = 12
LENGTHS = np.array([12, 7])
RESET = np.zeros((2, T), bool)
RESET[0, 5] = RESET[1, [0, 3]] = True


def error(got, wanted) -> float:
    return float(np.linalg.norm(np.asarray(got, np.float64) - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("dtype, limit", [(np.float64, 1e-10), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("example", [e for e in examples() if e.name.split("-")[0] in ORACLES], ids=repr)
def test_cell_equals_oracle(example, dtype, limit):
    with jax.enable_x64(dtype is np.float64):
        params, x = example.params(dtype), example.inputs(T, dtype)
        run = jax.jit(functools.partial(recurrence, example.cell))
        _, carry = run(params, x[:, ::-1], carry=example.start(dtype), lengths_B=LENGTHS, reset_BT=RESET)
        y, last = run(params, x, carry=carry, lengths_B=LENGTHS, reset_BT=RESET)
        assert y.dtype == dtype
    weights, x, carry = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (dict(params), x, tuple(carry)))
    oracle = ORACLES[example.name.split("-")[0]](example.config)
    wanted, wanted_last = oracle(weights, x, carry, RESET, LENGTHS)
    assert error(y, wanted) <= limit
    # Both sides keep the same stabiliser, so the raw leaves are comparable.
    assert max(error(a, b) for a, b in zip(last, wanted_last, strict=True) if b.any()) <= limit


def _gates(rng, *shape):
    return rng.standard_normal(shape) * 1.5


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
def test_stabilised_oracles_mean_the_plain_equations(input_gate, forget_gate):
    """The stabiliser of the oracles themselves: it changes neither the output nor C e^m, n e^m and c e^m."""
    rng, gates = np.random.default_rng(0), {"input_gate": input_gate, "forget_gate": forget_gate}
    full, none = np.full(2, T), np.zeros((2, T), bool)
    q, k, v = rng.standard_normal((3, 2, T, 2, 4))
    i, f = _gates(rng, 2, 2, T, 2)
    state = (np.zeros((2, 2, 4, 4)), np.zeros((2, 2, 4)), np.zeros((2, 2)))
    h, (C, n, m) = mlstm.mlstm(q, k, v, i, f, state, none, full, **gates)
    plain, true_C, true_n = mlstm.mlstm_plain(q, k, v, i, f, **gates)
    assert max(error(h, plain), error(C * np.exp(m)[..., None, None], true_C)) < 1e-12
    assert error(n * np.exp(m)[..., None], true_n) < 1e-12

    x, r = _gates(rng, 2, T, 4, 2, 3), rng.standard_normal((4, 2, 3, 3))
    zero = np.zeros((2, 2, 3))
    y, (c, n, m, _) = slstm.slstm(x, r, (zero, zero, zero - np.inf, zero), none, full, **gates)
    plain, true_c, true_n = slstm.slstm_plain(x, r, **gates)
    assert max(error(y, plain), error(c * np.exp(m), true_c), error(n * np.exp(m), true_n)) < 1e-12


def test_the_cells_here_are_registered():
    """A misspelt name in the table above would leave a cell untested."""
    assert set(ORACLES) <= {example.name for example in examples()}


def test_relative_error_sees_a_difference():
    assert error(jnp.asarray([1.0, 2.0]), np.array([1.0, 2.1])) > 1e-2
