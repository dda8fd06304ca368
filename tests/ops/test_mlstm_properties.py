"""Properties of every mLSTM implementation: splits, causality, batch, vmap, gauge."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.ops.errors import compiled, gauge, measured, run
from tests.ops.mlstm_cases import Case, cotangents, inputs
from tests.ops.numeric import error, few
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS, MLSTMState, mlstm, mlstm_step

pytestmark = pytest.mark.usefixtures("rolled")

each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))
CASE = Case(reset="random", lengths="ragged", state="normal")  # same programs as the first rows of test_mlstm.py


@each_implementation
def test_causality(implementation):
    """Changing inputs from a step on does not change earlier h, and a loss on earlier h has no gradient there."""
    at = 37
    case = Case(state="normal")
    *arrays, state, reset, lengths = inputs(case)
    dh, dC, dn = cotangents(case, "h")
    outputs, gradients = run(case, implementation, "h", weights=(dh.at[:, at:].set(0), dC, dn))
    assert not any(gradients[name][:, at:].any() for name in "qkvif")
    assert all(gradients[name][:, at - 1].any() for name in "qkvi")
    later = [a.at[:, at:].set(3 - a[:, at:]) for a in arrays]
    changed, _ = run(case, implementation, "h", (*later, state, reset, lengths))
    np.testing.assert_array_equal(changed["h"][:, :at], outputs["h"][:, :at])
    assert error(changed["h"][:, at:], outputs["h"][:, at:]) > 0.1


@each_implementation
def test_batch_permuted(implementation):
    """Sequences are independent: swapped inputs have swapped outputs and gradients."""

    def swapped(tree):
        return jax.tree.map(lambda a: a[::-1], tree)

    m_ref, weights = gauge(CASE), cotangents(CASE, "both")
    both = compiled(CASE, implementation)
    wanted = swapped(both(weights, *inputs(CASE), m_ref, np.False_))
    got = both(swapped(weights), *swapped(inputs(CASE)), m_ref[::-1], np.False_)
    assert jax.tree.all(jax.tree.map(lambda a, b: error(a, b) < 1e-6, got, wanted))
    assert error(np.asarray(wanted[0][0]), np.asarray(wanted[0][0])[::-1]) > 0.1


@each_implementation
def test_vmap(implementation):
    """Outputs and gradients over a leading axis are those of each entry."""
    both, (*args, m_ref) = compiled(CASE, implementation), (*inputs(CASE), gauge(CASE))
    first = (cotangents(CASE, "both"), *args, m_ref)
    second = jax.tree.map(lambda a: a[::-1], first)
    got = jax.vmap(lambda *a: both(*a, np.False_))(*jax.tree.map(lambda a, b: jnp.stack([a, b]), first, second))
    for index, one in enumerate((first, second)):
        wanted = both(*one, np.False_)
        assert jax.tree.all(jax.tree.map(lambda a, b, index=index: error(a[index], b) < 1e-5, got, wanted))


@each_implementation
def test_one_compilation_a_shape(implementation):
    """Other values, resets and lengths do not retrace; another T does."""
    traces = []

    @jax.jit
    def forward(arrays, state, reset, lengths):
        traces.append(arrays[0].shape)
        return mlstm(
            *arrays, state=state, reset_BT=reset, lengths_B=lengths, implementation=implementation, chunk_size=4
        )

    for time, gates, reset, lengths, seed in [(7, "normal", "none", "full", 0), (7, "60", "ends", "with 0", 1)]:
        *arrays, state, reset_BT, lengths_B = inputs(Case(gates, reset, lengths, "normal", seed=seed, time=time))
        forward(arrays, state, reset_BT, lengths_B)
    assert len(traces) == 1
    *arrays, state, reset_BT, lengths_B = inputs(Case(time=9))
    forward(arrays, state, reset_BT, lengths_B)
    assert len(traces) == 2


def wide(case: Case):
    """Arrays and state in float64, reset and lengths; in x64 mode."""
    *arrays, reset, lengths = inputs(case)
    *arrays, state = jax.tree.map(lambda a: jnp.asarray(a, np.float64), arrays)
    return arrays, {"state": state, "reset_BT": jnp.asarray(reset), "lengths_B": jnp.asarray(lengths)}


@functools.partial(jax.jit, static_argnames=("implementation", "chunk_size"))
def forward(arrays, options, implementation, chunk_size):
    """(h, C e^m, n e^m) and the state."""
    h, state = mlstm(*arrays, **options, implementation=implementation, chunk_size=chunk_size)
    return (h, state.C * jnp.exp(state.m)[..., None, None], state.n * jnp.exp(state.m)[..., None]), state


def close(got, wanted, limit=1e-11) -> bool:
    """Compares every leaf; none has a NaN."""
    return jax.tree.all(jax.tree.map(lambda a, b: error(np.asarray(a), np.asarray(b)) < limit, got, wanted))


@st.composite
def cases(draw, shapes=((11, 4),)):
    """Any resets and lengths, with one of the pairs (T, chunk size)."""
    time, chunk = draw(st.sampled_from(shapes))
    steps = st.tuples(st.integers(0, 1), st.integers(0, time - 1))
    return Case(
        gates=draw(st.sampled_from(["normal", "15", "forget"])),
        reset=tuple(draw(st.lists(steps, max_size=5))),
        lengths=(draw(st.integers(0, time)), draw(st.integers(0, time))),
        state="normal",
        seed=draw(st.integers(0, 1000)),
        time=time,
        chunk=chunk,
        keys=3,
        values=5,
    )


@pytest.mark.slow
@few(max_examples=10)
@hypothesis.given(case=cases([(1, 3), (13, 1), (20, 7)]))
def test_all_agree_in_float64(case):
    """Every implementation equals the recurrent form, for any T, chunk size, resets and lengths."""
    with jax.enable_x64(True):
        arrays, options = wide(case)
        wanted, _ = forward(arrays, options, "recurrent", None)
        for implementation in IMPLEMENTATIONS:
            assert close(forward(arrays, options, implementation, case.chunk)[0], wanted), implementation


@each_implementation
@few(max_examples=20)
@hypothesis.given(case=cases(), by=st.floats(-30, 30))
def test_state_has_a_gauge(implementation, case, by):
    """C e^-a and n e^-a with m + a are the same state."""
    with jax.enable_x64(True):
        arrays, options = wide(case)
        C, n, m = options["state"]
        moved = {**options, "state": MLSTMState(C * np.exp(-by), n * np.exp(-by), m + by)}
        assert close(*(forward(arrays, given, implementation, 4)[0] for given in (moved, options)))


@each_implementation
@few(max_examples=6)
@hypothesis.given(case=cases(), at=st.sampled_from([3, 8]))  # either part first
def test_split_anywhere(implementation, case, at):
    """Two parts with the state passed on equal the whole."""
    with jax.enable_x64(True):
        arrays, options = wide(case)
        wanted, _ = forward(arrays, options, implementation, 4)
        lengths, reset = options["lengths_B"], options["reset_BT"]
        first = {"state": options["state"], "reset_BT": reset[:, :at], "lengths_B": jnp.minimum(lengths, at)}
        (h, *_), state = forward([a[:, :at] for a in arrays], first, implementation, 4)
        second = {"state": state, "reset_BT": reset[:, at:], "lengths_B": jnp.maximum(lengths - at, 0)}
        rest, _ = forward([a[:, at:] for a in arrays], second, implementation, 4)
        assert close((jnp.concatenate([h, rest[0]], axis=1), *rest[1:]), wanted)


@pytest.mark.parametrize("gate", ["exp", "sigmoid"])
def test_steps_are_a_sequence(gate, x64):
    """`mlstm_step` three times in a Python loop: outputs, state and gradients are those of the op."""
    *arrays, state, _, _ = inputs(Case(time=3, state="normal"))
    args = jax.tree.map(lambda a: jnp.asarray(a, np.float64), (*arrays, state))

    def looped(q, k, v, i, f, state):
        log_i, log_f = i if gate == "exp" else jax.nn.log_sigmoid(i), jax.nn.log_sigmoid(f)
        h = []
        for t in range(3):
            step = (a[:, t] for a in (q, k, v, log_i, log_f))
            state, h_BHV = mlstm_step(state, *step, stabilise=gate == "exp")
            h.append(h_BHV)
        return jnp.stack(h, axis=1), state

    def whole(q, k, v, i, f, state):
        return mlstm(q, k, v, i, f, state=state, input_gate=gate)

    @functools.partial(jax.jit, static_argnums=0)
    def both(run, dh, dC, dn, *args):
        outputs, pullback = jax.vjp(run, *args)
        return outputs, pullback((dh, MLSTMState(dC, dn, jnp.zeros_like(outputs[1].m))))

    weights = [jnp.asarray(a, np.float64) for a in cotangents(Case(time=3), "both")]
    assert close(both(looped, *weights, *args), both(whole, *weights, *args))


@pytest.mark.slow
def test_long_sequences():
    """T = 4,096: every linear form agrees with the oracle and with the recurrent form's gradients."""
    case = Case(time=4096, chunk=None, reset="random", state="normal", lengths=(4096, 3000), heads=1, keys=4, values=4)
    for implementation in set(IMPLEMENTATIONS) - {"parallel"}:
        assert all(entry.error <= entry.allowed for entry in measured(case, implementation)), implementation


def test_memory():
    """Memory is linear in T and below the parallel form's from T = 1,024 on; several chunks at once need at most twice
    that of one after another. Compiled, not run."""

    def loss(arrays, implementation):
        return jnp.sum(mlstm(*arrays, implementation=implementation)[0])

    def gradient(implementation, time):
        arrays = [jax.ShapeDtypeStruct((1, time, 2, *size), np.float32) for size in [(64,), (64,), (64,), (), ()]]
        step = jax.jit(functools.partial(jax.grad(loss), implementation=implementation))
        return step.lower(arrays).compile().memory_analysis().temp_size_in_bytes

    chunkwise = {time: gradient("chunkwise", time) for time in (1024, 4096)}
    assert chunkwise[4096] <= 4.1 * chunkwise[1024]
    assert 0 < 2 * chunkwise[1024] < gradient("parallel", 1024)
    assert gradient("associative", 4096) <= 2 * chunkwise[4096]
