"""Properties of every sLSTM implementation: starts, splits, causality, batch, dtypes, errors."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.ops.numeric import error, few
from tests.ops.test_slstm import RESETS, Case, compiled, cotangents, expected, inputs, run
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.slstm import IMPLEMENTATIONS, SLSTMState, slstm

pytestmark = pytest.mark.usefixtures("rolled")

each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))
CASE = Case(reset=RESETS, lengths=(12, 7))


@each_implementation
@pytest.mark.parametrize("strong", [False, True])
def test_empty_start_is_exact(strong, implementation):
    """From m = -inf the first y is sigmoid(o) tanh(z), whatever i and f, and no gradient reaches the state before."""
    case = Case(state="empty", strong=strong, time=1)
    x, *_ = inputs(case)
    outputs, gradients = run(case, implementation, "both")
    _, _, z, o = np.moveaxis(np.asarray(x, np.float64)[:, 0], 1, 0)
    np.testing.assert_allclose(outputs["y"][:, 0], np.tanh(z) / (1 + np.exp(-o)), rtol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    assert not gradients["state c"].any() and not gradients["state n"].any() and not gradients["state m"].any()


@each_implementation
def test_no_state_is_the_empty_state(implementation):
    x, r, state, *_ = inputs(Case(state="empty"))
    wanted, got = (slstm(x, r, state=s, implementation=implementation) for s in (state, None))
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


@each_implementation
def test_a_sequence_of_length_0_leaves_the_empty_state(implementation):
    """m stays minus infinity and does not become NaN."""
    x, r, state, *_ = inputs(Case(state="empty"))
    _, after = slstm(x, r, state=state, lengths_B=np.array([0, 12]), implementation=implementation)
    assert np.all(after.m[0] == -np.inf) and not np.any(after.c[0]) and np.isfinite(after.m[1]).all()


@each_implementation
def test_causality(implementation):
    """Changing inputs from a step on does not change earlier y, and a loss on earlier y has no gradient there."""
    at, case = 6, Case()
    x, r, *rest = inputs(case)
    dy, *others = cotangents(case, "y")
    outputs, gradients = run(case, implementation, "y", weights=(dy.at[:, at:].set(0), *others))
    assert not gradients["x"][:, at:].any() and gradients["x"][:, at - 1].any()
    changed, _ = run(case, implementation, "y", (x.at[:, at:].set(3 - x[:, at:]), r, *rest))
    np.testing.assert_array_equal(changed["y"][:, :at], outputs["y"][:, :at])
    assert error(changed["y"][:, at:], outputs["y"][:, at:]) > 0.1


def arguments(case):
    """Arguments of a compiled function: cotangents, x, r, state, reset, lengths, m_ref."""
    return cotangents(case, "both"), *inputs(case), jnp.asarray(expected(case)[1][2], np.float32)


def swapped(args):
    """The batch reversed; r, the third of weights and arguments, has none."""
    return jax.tree.map(lambda a: a[::-1], args[:2]) + args[2:3] + jax.tree.map(lambda a: a[::-1], args[3:])


@each_implementation
def test_batch_permuted(implementation):
    """Swapped sequences have swapped outputs and gradients, and the same gradient of r."""
    both, args = compiled(implementation, "exp", "sigmoid"), arguments(CASE)
    (outputs, (dx, dr, dstate)), (got, (dx2, dr2, dstate2)) = both(*args), both(*swapped(args))
    pairs = zip(jax.tree.leaves((got, dx2, dstate2)), jax.tree.leaves((outputs, dx, dstate)), strict=True)
    assert all(error(a, b[::-1]) < 1e-6 for a, b in pairs)
    assert error(dr2, dr) < 1e-6 and error(got[0], outputs[0]) > 0.1


@each_implementation
def test_vmap(implementation):
    """Outputs and gradients over a leading axis are those of each entry."""
    both, first = compiled(implementation, "exp", "sigmoid"), arguments(CASE)
    second = swapped(first)
    got = jax.vmap(both)(*jax.tree.map(lambda a, b: jnp.stack([a, b]), first, second))
    for index, args in enumerate((first, second)):
        close = jax.tree.map(lambda a, b, index=index: error(a[index], b) < 1e-5, got, both(*args))
        assert jax.tree.all(close)


@each_implementation
def test_one_compilation_a_shape(implementation):
    """Other values, resets and lengths do not retrace; another T does."""
    traces = []

    @jax.jit
    def forward(x, r, state, reset, lengths):
        traces.append(x.shape)
        return slstm(x, r, state=state, reset_BT=reset, lengths_B=lengths, implementation=implementation)

    for case in (Case(), Case(reset=RESETS, lengths=(0, 1), strong=True)):
        forward(*inputs(case))
    assert len(traces) == 1
    forward(*inputs(Case(time=7)))
    assert len(traces) == 2


@functools.partial(jax.jit, static_argnames="implementation")
def forward(x, r, state, reset, lengths, implementation):
    """y, c e^m, n e^m and the last y."""
    y, after = slstm(x, r, state=state, reset_BT=reset, lengths_B=lengths, implementation=implementation)
    return y, after.c * jnp.exp(after.m), after.n * jnp.exp(after.m), after.y


def wide(reset, lengths, scale):
    """Inputs of 12 steps in float64; in x64 mode."""
    x, r, state, reset, lengths = inputs(Case(reset=tuple(reset), lengths=lengths))
    x, r, state = jax.tree.map(lambda a: jnp.asarray(a, np.float64), (x * scale, r, state))
    return x, r, state, jnp.asarray(reset), jnp.asarray(lengths)


resets = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 11)), max_size=5)
lengths = st.tuples(st.integers(0, 12), st.integers(1, 12))


@each_implementation
@few(max_examples=20)
@hypothesis.given(reset=resets, lengths=lengths, by=st.floats(-30, 30), scale=st.sampled_from([0.0, 1.0, 8.0]))
def test_state_has_a_gauge(implementation, reset, lengths, by, scale):
    """c e^-a and n e^-a with m + a are the same state."""
    with jax.enable_x64(True):
        x, r, state, *masks = wide(reset, lengths, scale)
        moved = SLSTMState(state.c * np.exp(-by), state.n * np.exp(-by), state.m + by, state.y)
        got, wanted = (forward(x, r, s, *masks, implementation) for s in (moved, state))
        assert jax.tree.all(jax.tree.map(lambda a, b: error(a, b) < 1e-11, got, wanted))


@pytest.mark.parametrize(
    "implementation", [pytest.param(name, marks=[pytest.mark.slow] * (name == "pallas")) for name in IMPLEMENTATIONS]
)
@few(max_examples=4)
@hypothesis.given(reset=resets, lengths=lengths, at=st.integers(1, 11))
def test_split_anywhere(implementation, reset, lengths, at):
    """Two parts with the state passed on equal the whole."""
    with jax.enable_x64(True):
        x, r, state, reset, lengths = wide(reset, lengths, 1.0)
        wanted = forward(x, r, state, reset, lengths, implementation)
        call = jax.jit(functools.partial(slstm, implementation=implementation))
        y, state = call(x[:, :at], r, state=state, reset_BT=reset[:, :at], lengths_B=jnp.minimum(lengths, at))
        rest = forward(x[:, at:], r, state, reset[:, at:], jnp.maximum(lengths - at, 0), implementation)
        got = (jnp.concatenate([y, rest[0]], axis=1), *rest[1:])
        assert jax.tree.all(jax.tree.map(lambda a, b: error(a, b) < 1e-11, got, wanted))


@each_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes(dtype, implementation):
    """y has x's dtype and the state is at least float32; x64 mode changes neither."""
    x, r = inputs(Case(time=7, dtype=dtype))[:2]
    for wide in (False, True):
        with jax.enable_x64(wide):
            y, state = jax.eval_shape(lambda *a: slstm(*a, implementation=implementation), x, r)
        assert y.dtype == jnp.dtype(dtype)
        assert {leaf.dtype for leaf in state} == {jnp.dtype(np.float32)}


def test_usage_errors():
    x, r = inputs(Case(time=7))[:2]
    with pytest.raises(UsageError, match=r"'fast' is unknown; known: .*scan"):
        slstm(x, r, implementation="fast")
    with pytest.raises(UsageError, match="input_gate 'tanh' is unknown"):
        slstm(x, r, input_gate="tanh")
    for misfit in ((x[:, :, :3], r), (x, r[:3]), (x, r[..., :2]), (x[0], r)):
        with pytest.raises(UsageError, match=r"wanted x \[B,T,G,H,D\], r \[G,H,D,D\]: "):
            slstm(*misfit)
