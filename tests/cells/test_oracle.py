"""Each cell compared with the equations of its paper in NumPy: values and gradients."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.cells.errors import ORACLES, T, cell_name, error, measure
from tests.oracles import mlstm, slstm
from xlstm_jax.cells import CELLS
from xlstm_jax.testing.examples import Example, examples

EVERY = examples("sequence") + examples("tree")
# The largest errors allowed, for outputs and states, and for gradients.
LIMITS = {np.float64: (1e-12, 1e-8), np.float32: (1e-5, 1e-4)}


def assert_within_limits(example, dtype):
    outputs, gradients = LIMITS[dtype]
    found = measure(example, dtype)
    assert found.outputs <= outputs and found.state <= outputs and found.gradients <= gradients, found


@pytest.mark.parametrize(
    ("example", "dtype"),
    [
        pytest.param(
            example,
            dtype,
            id=f"{example!r}-{dtype.__name__}",
            marks=[pytest.mark.slow] * example.without_bias,
        )
        for dtype in LIMITS
        for example in EVERY
        # Removing the bias does not change the rounding.
        if dtype == np.float64 or not example.without_bias
    ],
)
def test_cell_equals_oracle(example, dtype):
    """Outputs, the last state, and gradients of weights, inputs and initial carry."""
    assert cell_name(example) in ORACLES, "a cell without an oracle"
    assert_within_limits(example, dtype)


@pytest.mark.parametrize("shape, kernel_size", [((5,), 2), ((2, 1, 3), 3)], ids=["1-D", "3-D"])
def test_convlstm_over_other_maps(shape, kernel_size):
    """One axis with a kernel of even size, which has no centre, and three axes."""
    cell = CELLS.get("convlstm")
    config = cell.Config(in_features=2, features=3, spatial_shape=shape, kernel_size=kernel_size, peepholes=True)
    assert_within_limits(Example("convlstm", cell, config), np.float64)


def _gates(rng, *shape):
    return rng.standard_normal(shape) * 1.5


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
@pytest.mark.parametrize("input_gate", ["exp", "sigmoid"])
def test_stabilised_oracles_mean_the_plain_equations(input_gate, forget_gate):
    """The oracles' own stabiliser changes neither the output nor C e^m, n e^m and c e^m."""
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


def test_every_cell_has_an_oracle():
    """Every oracle also has a cell: a misspelt name would leave one untested."""
    assert {cell_name(example) for example in EVERY} == set(ORACLES)


def test_relative_error_sees_a_difference():
    assert error(jnp.asarray([1.0, 2.0]), np.array([1.0, 2.1])) > 1e-2
    assert error(np.array([0.1]), np.array([0.0])) == pytest.approx(0.1)
