"""Every implementation of the mLSTM op over one table of cases, against the float64 oracle."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.dtypes import dtypes_inside
from tests.ops.errors import compiled, gauge, measured, run
from tests.ops.mlstm_cases import CASES, SLOW_CASES, STATIC, VALUES, Case, cotangents, inputs
from tests.ops.numeric import assert_gradients, error
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS, MLSTMState, mlstm
from xlstm_jax.ops.mlstm.pallas import Chunk

pytestmark = pytest.mark.usefixtures("rolled")

# Rows that include gates of every kind, resets, lengths, a state and a norm.
FINITE_DIFFERENCES = [
    case for case in CASES if case.dtype == "float32" and case.time < 128 and not case.strong and not case.zero
]
each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))
FIELDS = dataclasses.fields(Case)[len(VALUES) + 2 :]  # fields of a case that cost a compilation


def static(case):
    return tuple(getattr(case, field.name) for field in FIELDS)


# Quick tests compile the interpreted kernels, which take the longest, for a few shapes and options, and the other forms
# for more of them, but not the long ones.
QUICK = [static(Case(**STATIC[index])) for index in (0, 1, 3, 4, 8)]
SLOW = [static(Case(**STATIC[index])) for index in (2, 5, 9, 11, 12, 13)]


# Kernels for TPUs, interpreted, in shorter chunks than a TPU can have: so these sequences have several.
TPU = Chunk(16, group=2)


def rows():
    for case, name in itertools.product([*CASES, *SLOW_CASES], [*IMPLEMENTATIONS, TPU]):
        kernels = name in ("pallas", TPU)
        slow = case in SLOW_CASES or static(case) in SLOW or (kernels and static(case) not in QUICK)
        yield pytest.param(
            case, name, marks=[pytest.mark.slow] * slow, id=f"{case!r}-{'for_tpu' if name is TPU else name}"
        )


@pytest.mark.parametrize(("case", "implementation"), list(rows()))
def test_outputs_and_gradients(case, implementation):
    """h, the final state and all gradients, of losses on h, on the final state, and on both."""
    for entry in measured(case, implementation):
        assert entry.error <= entry.allowed, f"{entry.part} {entry.name}, loss on {entry.which}"


@each_implementation
@pytest.mark.parametrize("gates", ["60", "80"])
def test_strong_gates_give_finite_numbers(gates, implementation):
    """e^-m leaves float32 and resets separate growing gates: 20 draws, many of which once produced NaN."""
    for seed in range(20):
        case = Case(gates, reset="random", state="normal", seed=seed, **STATIC[1])
        for part in run(case, implementation, "both"):
            assert not [name for name, array in part.items() if not np.isfinite(array).all()], f"seed {seed}"


@pytest.mark.parametrize("case", FINITE_DIFFERENCES, ids=repr)
def test_reference_gradients_equal_finite_differences(case, x64):
    """The float64 gradients that the others are compared with, along random directions."""
    *arrays, reset, lengths = inputs(case)
    arrays, weights = jax.tree.map(lambda a: jnp.asarray(a, np.float64), (arrays, cotangents(case, "both")))

    def both(arrays):
        return run(case, "recurrent", "both", (*arrays, reset, lengths), weights)

    assert_gradients(both, arrays, weights, step=1e-7, tolerance=1e-5)


@each_implementation
@pytest.mark.parametrize("gate", ["exp", "sigmoid"])
def test_nan_in_padding_reaches_nothing(gate, implementation):
    """Outputs, the state and gradients are unaffected, including gradients at the padded steps."""
    case = Case(lengths=(75, 50), state="normal", **(STATIC[3] if gate == "sigmoid" else STATIC[0]))
    *arrays, state, reset, lengths = inputs(case)
    padding = np.arange(case.time) >= lengths[:, None]
    clean = run(case, implementation, "both")
    spoilt = [jnp.where(padding.reshape(*padding.shape, *(1,) * (a.ndim - 2)), jnp.nan, a) for a in arrays]
    dirty = run(case, implementation, "both", (*spoilt, state, reset, lengths))
    for got, wanted in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert not clean[0]["h"][padding].any()
    assert not any(clean[1][name][padding].any() for name in "qkvif")


@each_implementation
@pytest.mark.parametrize("gates", ["normal", "80"])
def test_nothing_passes_a_reset(gates, implementation):
    """Outputs from a reset on, and the state, do not depend on earlier steps, in values or gradients."""
    at = 37
    case = Case(gates, reset=((0, at), (1, at)), state="normal")
    *arrays, state, reset, lengths = inputs(case)
    dh, dC, dn = cotangents(case, "both")
    weights = (dh.at[:, :at].set(0), dC, dn)
    outputs, gradients = run(case, implementation, "both", weights=weights)
    for name, gradient in gradients.items():
        before = gradient if name.startswith("state") else gradient[:, :at]
        assert not before.any(), f"gradient of {name} from before the reset"
    assert np.abs(gradients["v"][:, at:]).max() > 0.1
    other = [a.at[:, :at].set(a[:, at - 1 :: -1] + 3) for a in arrays]
    changed, _ = run(case, implementation, "both", (*other, jax.tree.map(lambda a: 2 - a, state), reset, lengths))
    assert error(changed["h"][:, :at], outputs["h"][:, :at]) > 0.1
    np.testing.assert_array_equal(changed["h"][:, at:], outputs["h"][:, at:])
    assert error(changed["C"], outputs["C"]) < 1e-6 and error(changed["n"], outputs["n"]) < 1e-6


@each_implementation
def test_a_named_implementation_runs(implementation):
    """Only its scope appears in the lowered program."""
    text = lowered(implementation, time=7)
    assert [name for name in IMPLEMENTATIONS if f"mlstm_{name}" in text] == [implementation]


@pytest.mark.parametrize("time", [1, 7, 300])
def test_some_implementation_runs_by_default(time):
    assert any(f"mlstm_{name}" in lowered(None, time) for name in IMPLEMENTATIONS)


def lowered(implementation, time) -> str:
    arrays = inputs(Case(time=time))[:5]
    return jax.jit(lambda *a: mlstm(*a, implementation=implementation)).lower(*arrays).as_text(debug_info=True)


@each_implementation
def test_x64_mode_changes_nothing_for_float32(implementation):
    """Nothing is computed in float64, in either pass."""
    case = Case(**STATIC[8])
    with jax.enable_x64(True):
        arrays = cotangents(case, "both"), *inputs(case), gauge(case), np.False_
        program, shapes = jax.make_jaxpr(compiled(case, implementation), return_shape=True)(*arrays)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == dtypes_inside(program) == {jnp.dtype(np.float32)}


@each_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes(dtype, implementation):
    """h has v's dtype; the state is at least float32."""
    arrays = inputs(Case(time=7, dtype=dtype))[:5]
    h, state = jax.eval_shape(lambda *a: mlstm(*a, implementation=implementation), *arrays)
    assert h.dtype == jnp.dtype(dtype) and isinstance(state, MLSTMState)
    assert {leaf.dtype for leaf in state} == {jnp.dtype(np.float32)}


def test_usage_errors():
    """One line that says what was given and what is allowed."""
    q, k, v, i, f = inputs(Case(time=7))[:5]
    with pytest.raises(UsageError, match=r"'fast' is unknown; known: .*chunkwise"):
        mlstm(q, k, v, i, f, implementation="fast")
    with pytest.raises(UsageError, match="normalize=False needs input_gate='sigmoid'"):
        mlstm(q, k, v, i, f, normalize=False)
    with pytest.raises(UsageError, match="input_gate 'tanh' is unknown"):
        mlstm(q, k, v, i, f, input_gate="tanh")
    with pytest.raises(UsageError, match="forget_gate 'tanh' is unknown"):
        mlstm(q, k, v, i, f, forget_gate="tanh")
    with pytest.raises(UsageError, match="chunk_size 0"):
        mlstm(q, k, v, i, f, chunk_size=0)
    for misfit in ((q[:, :, :, :4], k, v, i, f), (q, k, v[:, :3], i, f), (q, k, v, i[:1], f), (q, k, v, i, f[..., 0])):
        with pytest.raises(UsageError, match=r"wanted q \[B,T,H,K\], k "):
            mlstm(*misfit)


def test_table_covers_every_pair():
    """Any two values of different dimensions occur together in at least one row, and each T occurs."""
    table = [{name: getattr(case, name) for name in VALUES} | {"static": static(case)} for case in CASES]
    wanted = VALUES | {"static": [static(Case(**row)) for row in STATIC]}
    for (one, ones), (two, twos) in itertools.combinations(wanted.items(), 2):
        missing = set(itertools.product(ones, twos)) - {(row[one], row[two]) for row in table}
        assert not missing, f"{one} with {two}"
    assert {case.time for case in CASES} == {1, 2, 7, 75, 93, 128, 500}
    assert any((case.chunk or 0) > case.time > 1 for case in CASES)
