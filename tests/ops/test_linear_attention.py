"""Retention, gated linear attention and SSD: every implementation of the core against each one's own recurrence."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import linear_attention as oracles
from xlstm_jax.errors import UsageError
from xlstm_jax.ops import linear_attention
from xlstm_jax.ops.linear_attention import retention, ssd
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS
from xlstm_jax.ops.recurrence import scan

BATCH, HEADS, GROUPS, KEYS, VALUES = 2, 4, 2, 5, 6
NAMES = {  # of the differentiable arguments, the state last
    "retention": ("q", "k", "v", "log_decay", "state"),
    "gated_linear_attention": ("q", "k", "v", "log_f", "state"),
    "ssd": ("x", "dt", "A", "B", "C", "D", "state"),
}
PARAMETERS = ("log_decay", "A", "D", "state")  # without a time axis; float32 beside bfloat16 inputs too
CHUNKS = {1: 4, 7: 3, 75: 16}  # by T, of which none divides it
LIMITS = {"float64": (1e-10, 1e-10), "float32": (1e-5, 1e-4), "bfloat16": (5e-3, 1e-2)}  # outputs, gradients
each_op = pytest.mark.parametrize("op", list(NAMES))
each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))


@dataclasses.dataclass(frozen=True)
class Case:
    """Rows of one T and dtype differ in values only, and share a compilation."""

    time: int = 75
    reset: tuple[tuple[int, int], ...] = ()  # (sequence, step) pairs
    lengths: tuple[int, ...] | None = None  # None is full
    state: bool = True  # normal, or zero

    def __repr__(self) -> str:
        return ",".join(f"{f.name}={getattr(self, f.name)}" for f in dataclasses.fields(self)).replace(" ", "")


CASES = [
    Case(1),
    Case(1, reset=((0, 0),), lengths=(1, 0)),
    Case(7, reset=((0, 3), (0, 4), (1, 0), (1, 6)), lengths=(7, 4)),
    Case(75),
    Case(75, state=False),
    Case(75, reset=((0, 0), (0, 20), (0, 21), (1, 33), (1, 74))),
    Case(75, reset=((0, 15), (0, 16), (1, 35), (1, 60)), lengths=(70, 40)),
    Case(75, lengths=(75, 0)),
]


@pytest.fixture(autouse=True)
def rolled(monkeypatch):
    """One copy of a step in the recurrent form's loop: less to compile."""
    monkeypatch.setattr(scan, "UNROLL", 1)


def inputs(op: str, case: Case, dtype="float32"):
    """The differentiable arguments, rounded to the dtype, then resets and lengths; all NumPy."""
    rng = np.random.default_rng(0)
    shape, normal = (BATCH, case.time, HEADS), np.random.default_rng(1).standard_normal
    gates = np.exp(rng.uniform(-6, 1, shape))  # -log f: from a gate all but open to one that closes
    arrays = {
        "q": normal((*shape, KEYS)),
        "k": normal((*shape, KEYS)),
        "v": normal((*shape, VALUES)),
        "log_decay": np.log([0.3, 0.9, 0.97, 1.0]),
        "log_f": -gates,
        "x": normal((*shape, VALUES)),
        "dt": gates,
        "A": -np.array([0.1, 0.5, 1.0, 2.0]),
        "B": normal((BATCH, case.time, GROUPS, KEYS)),
        "C": normal((BATCH, case.time, GROUPS, KEYS)),
        "D": normal(HEADS),
        "state": case.state * normal((BATCH, HEADS, KEYS, VALUES)),
    }
    wide = np.promote_types(jnp.dtype(dtype), np.float32)
    args = [arrays[name].astype(wide if name in PARAMETERS else jnp.dtype(dtype)) for name in NAMES[op]]
    reset = np.zeros(shape[:2], bool)
    for b, t in case.reset:
        reset[b, t] = True
    return args, jnp.asarray(reset), jnp.asarray(case.lengths or (case.time,) * BATCH, np.int32)


def call(op, args, reset, lengths, **options):
    *arrays, state = args
    options = {"state": state, "reset_BT": reset, "lengths_B": lengths, **options}
    if op == "retention":
        return retention(*arrays[:3], log_decay_H=arrays[3], **options)
    return getattr(linear_attention, op)(*arrays, **options)


@functools.cache
def compiled(op, implementation, chunk):
    @jax.jit
    def both(args, reset, lengths, weights):
        options = {"implementation": implementation, "chunk_size": chunk}
        outputs, pullback = jax.vjp(lambda args: call(op, args, reset, lengths, **options), args)
        return outputs, pullback(weights)[0]

    return both


def cotangents(time, dtype):
    rng = np.random.default_rng(2)
    wide = np.promote_types(jnp.dtype(dtype), np.float32)
    do = rng.standard_normal((BATCH, time, HEADS, VALUES)).astype(jnp.dtype(dtype))
    return do, rng.standard_normal((BATCH, HEADS, KEYS, VALUES)).astype(wide)


def run(op, implementation, args, reset, lengths, weights):
    """(o, S) and the gradients of <o, do> + <S, dS> by name, as the op gives them."""
    time = args[0].shape[1]
    chunk = CHUNKS[time] if implementation in ("chunkwise", "associative") else None
    args, weights = jax.tree.map(jnp.asarray, (args, weights))
    outputs, gradients = compiled(op, implementation, chunk)(args, reset, lengths, weights)
    return outputs, dict(zip(NAMES[op], gradients, strict=True))


def oracle(op, args, reset, lengths):
    wide = [a if np.iscomplexobj(a) else np.asarray(a, np.float64) for a in args]
    return getattr(oracles, op)(*wide, np.asarray(reset), np.asarray(lengths))


@functools.cache
def reference(op, case, dtype="float32"):
    """The oracle's outputs, and the recurrent form's gradients in float64, on inputs as rounded to the dtype."""
    args, reset, lengths = inputs(op, case, dtype)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), (args, cotangents(case.time, dtype)))
        gradients = run(op, "recurrent", wide[0], reset, lengths, wide[1])[1]
    return oracle(op, args, reset, lengths), gradients


def error(got, wanted) -> float:
    """||got - wanted|| / ||wanted||; where all is zero, the norm itself."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1))


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


@each_op
@each_implementation
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_outputs_and_gradients(op, implementation, case):
    check(op, implementation, case, "float32")


@each_op
@each_implementation
def test_float64(op, implementation, x64):
    check(op, implementation, CASES[6], "float64")


@each_op
@each_implementation
def test_bfloat16(op, implementation):
    check(op, implementation, CASES[6], "bfloat16")


@each_op
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_reference_gradients_equal_the_oracles(op, case):
    """Along random directions, by complex steps: Im L(x + i e d) / e is exact, since nothing is subtracted."""
    args, reset, lengths = inputs(op, case)
    weights, rng, step = cotangents(case.time, "float32"), np.random.default_rng(3), 1e-30
    for index, gradient in enumerate(reference(op, case)[1].values()):
        direction = rng.standard_normal(gradient.shape)
        moved = [a + 1j * step * direction if i == index else a.astype(np.float64) for i, a in enumerate(args)]
        outputs = oracle(op, moved, reset, lengths)
        derivative = sum(np.sum(a.imag * w) for a, w in zip(outputs, weights, strict=True)) / step
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert abs(np.vdot(gradient, direction) - derivative) <= 1e-12 * scale


@each_op
@each_implementation
def test_state_goes_on(op, implementation):
    """Two calls, the state passed on, are the oracle's one pass over both sequences."""
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


@each_op
@each_implementation
def test_causality(op, implementation):
    """Outputs up to a step know nothing of later ones, in values or gradients."""
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


@each_op
@each_implementation
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


@each_op
@each_implementation
def test_nan_in_padding_reaches_nothing(op, implementation):
    """Neither outputs, nor the state, nor gradients, those at the padded steps themselves included."""
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


def test_decays_of_retention_by_default():
    """gamma = 1 - 2^(-5 - h), still apart from 1 in float32 where a head's gamma is not."""
    q, k, v = (np.repeat(a, 7, axis=2) for a in inputs("retention", Case(75))[0][:3])
    heads = q.shape[2]
    log_decay, state = oracles.default_log_decay(heads), np.zeros((BATCH, heads, KEYS, VALUES))
    wanted = oracles.retention(
        *(a.astype(np.float64) for a in (q, k, v)), log_decay, state, np.zeros((BATCH, 75)), [75, 75]
    )
    got = jax.jit(retention)(q, k, v)
    assert all(error(a, b) < 1e-5 for a, b in zip(got, wanted, strict=True))
    near = jax.jit(lambda *a: retention(*a, log_decay_H=jnp.zeros(heads)))(q, k, v)
    assert error(near[0], wanted[0]) > 1e-2


@each_op
@pytest.mark.parametrize("time", [1, 75])
def test_arguments_left_out(op, time):
    """No state, resets or lengths: zero, none and full. The implementation is mLSTM's choice, as its scope says."""
    args, _, lengths = inputs(op, Case(time, state=False))
    function = jax.jit(lambda args: call(op, [*args[:-1], None], None, None))
    wanted = oracle(op, args, np.zeros((BATCH, time), bool), lengths)
    assert all(error(a, b) < 1e-5 for a, b in zip(function(args), wanted, strict=True))
    chosen = "recurrent" if time == 1 else "chunkwise"
    assert scopes(op, function.lower(args)) == [chosen]


@each_op
@each_implementation
def test_a_named_implementation_runs(op, implementation):
    args, reset, lengths = inputs(op, Case(7))
    lowered = jax.jit(lambda args: call(op, args, reset, lengths, implementation=implementation)).lower(args)
    assert scopes(op, lowered) == [implementation]


def scopes(op, lowered) -> list[str]:
    text = lowered.as_text(debug_info=True)
    return [name for name in IMPLEMENTATIONS if f"{op}_{name}" in text]


def test_a_step_of_size_zero_in_ssd():
    """It neither writes nor forgets, and leaves every gradient finite."""
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


@each_op
def test_x64_mode_changes_nothing_for_float32(op):
    args, reset, lengths = inputs(op, Case(7))
    with jax.enable_x64(True):
        outputs = jax.eval_shape(lambda args: call(op, args, reset, lengths), args)
        default = jax.eval_shape(retention, *inputs("retention", Case(7))[0][:3])
    assert {a.dtype for a in (*outputs, *default)} == {np.dtype(np.float32)}


@each_op
def test_usage_errors(op):
    """One line that says what was given and what is allowed."""
    args, reset, lengths = inputs(op, Case(7))
    for index, name in enumerate(NAMES[op]):
        for misfit in (args[index][..., :1], args[index][0]):
            spoilt = [*args[:index], misfit, *args[index + 1 :]]
            with pytest.raises(UsageError, match=rf"^{op} got .*{name} \(.*; wanted .*{name} \[[A-Z,]+\][^\n]*$"):
                call(op, spoilt, reset, lengths)
    with pytest.raises(UsageError, match=r"reset \(2, 6\).*wanted.*reset \[B,T\]"):
        call(op, args, reset[:, :6], lengths)
    with pytest.raises(UsageError, match=r"lengths \(1,\).*wanted.*lengths \[B\]"):
        call(op, args, reset, lengths[:1])
    with pytest.raises(UsageError, match=rf"{op} implementation 'fast' is unknown; known: .*chunkwise"):
        call(op, args, reset, lengths, implementation="fast")
    with pytest.raises(UsageError, match=f"{op} chunk_size 0 is not allowed"):
        call(op, args, reset, lengths, chunk_size=0)
    with pytest.raises(UsageError, match="at least one step"):
        empty = [a if name in PARAMETERS else a[:, :0] for name, a in zip(NAMES[op], args, strict=True)]
        call(op, empty, None, None)


def test_groups_that_do_not_divide_the_heads():
    (x, dt, A, B, C, D, _), _, _ = inputs("ssd", Case(7))
    for groups in (3, 0):
        B_3, C_3 = (np.repeat(a[:, :, :1], groups, axis=2) for a in (B, C))
        with pytest.raises(UsageError, match=f"ssd got {groups} groups for 4 heads"):
            ssd(x, dt, A, B_3, C_3, D)
