"""Every implementation of the sLSTM op over one table of cases, against the float64 oracle."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.numeric import LIMITS, assert_gradients, error, to_float64
from tests.oracles.slstm import slstm as oracle
from xlstm_jax.ops.slstm import IMPLEMENTATIONS, SLSTMState, slstm

pytestmark = pytest.mark.usefixtures("rolled")

BATCH, HEADS, WIDTH = 2, 2, 4
OUTPUTS, GRADIENTS = ("y", "c", "n", "last y"), ("x", "r", "state c", "state n", "state m", "state y")
each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))


@dataclasses.dataclass(frozen=True)
class Case:
    """One row; () means none and full, with the argument given; None leaves it out."""

    reset: tuple[tuple[int, int], ...] | None = ()
    lengths: tuple[int, ...] | None = ()
    state: str | None = "normal"  # or "empty"; None leaves the argument out
    strong: bool = False  # gates i, f uniform in +-80
    time: int = 12
    input_gate: str = "exp"
    forget_gate: str = "sigmoid"
    dtype: str = "float32"

    def __repr__(self) -> str:
        changed = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        return ",".join(f"{f.name}={getattr(self, f.name)}" for f in changed).replace(" ", "") or "default"


RESETS = ((0, 0), (0, 5), (0, 6), (1, 11))
CASES = [
    Case(),
    Case(state="empty", reset=RESETS),
    Case(reset=RESETS, lengths=(12, 7)),
    Case(lengths=(0, 1)),
    Case(strong=True, reset=RESETS),
    Case(reset=None, lengths=None, state=None, time=7),
    Case(reset=None, lengths=None, state=None, time=1),
    Case(forget_gate="exp", reset=RESETS),
    Case(forget_gate="exp", strong=True),
    Case(input_gate="sigmoid", reset=RESETS, lengths=(9, 12)),
    Case(input_gate="sigmoid", strong=True),
    Case(input_gate="sigmoid", forget_gate="exp", lengths=(12, 3)),
    Case(dtype="bfloat16", reset=RESETS, lengths=(12, 7)),
    # More than one piece of the scan, with and without a remainder.
    Case(time=75, reset=((0, 31), (0, 32), (1, 0), (1, 74)), lengths=(75, 40)),
    Case(time=64, reset=None, lengths=(33, 64), forget_gate="exp"),
    Case(time=75, strong=True, reset=((0, 40), (1, 64))),
    Case(time=75, dtype="bfloat16"),
]


def inputs(case: Case):
    """(x, r, state, reset, lengths), x and r rounded to the case's dtype; the state is float32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, case.time, 4, HEADS, WIDTH)) * 1.5
    if case.strong:
        x[:, :, :2] = rng.uniform(-80, 80, x[:, :, :2].shape)
    r = rng.standard_normal((4, HEADS, WIDTH, WIDTH)) * 0.5
    state = reset = lengths = None
    if case.state is not None:
        c, m, y = rng.standard_normal((3, BATCH, HEADS, WIDTH))
        state = SLSTMState(c, np.exp(rng.standard_normal(c.shape)), m, np.tanh(y))
        if case.state == "empty":
            state = SLSTMState(0 * c, 0 * c, np.full_like(m, -np.inf), 0 * c)
        state = jax.tree.map(lambda a: jnp.asarray(a, np.float32), state)
    if case.reset is not None:
        reset = np.zeros((BATCH, case.time), bool)
        for b, t in case.reset:
            reset[b, t] = True
    if case.lengths is not None:
        lengths = np.array(case.lengths or (case.time,) * BATCH, np.int32)
    return jnp.asarray(x, case.dtype), jnp.asarray(r, case.dtype), state, reset, lengths


@functools.cache
def expected(case: Case):
    """The oracle's y [B,T,H,D] and final (c, n, m, y)."""
    x, r, state, reset, lengths = inputs(case)
    zero = np.zeros((BATCH, HEADS, WIDTH))
    state = (zero, zero, zero - np.inf, zero) if state is None else tuple(to_float64(state))
    reset = np.zeros((BATCH, case.time), bool) if reset is None else reset
    lengths = np.full(BATCH, case.time) if lengths is None else lengths
    return oracle(*to_float64((x, r)), state, reset, lengths, case.input_gate, case.forget_gate)


@functools.cache
def compiled(implementation, input_gate, forget_gate):
    """Outputs and gradients; c and n as c e^(m - m_ref), n e^(m - m_ref), free of the gauge."""

    def forward(x, r, state, reset, lengths, m_ref):
        options = {"input_gate": input_gate, "forget_gate": forget_gate, "implementation": implementation}
        y, state = slstm(x, r, state=state, reset_BT=reset, lengths_B=lengths, **options)
        scale = jnp.exp(state.m - m_ref)
        return y, state.c * scale, state.n * scale, state.y

    @jax.jit
    def both(cotangents, x, r, state, reset, lengths, m_ref):
        outputs, pullback = jax.vjp(lambda *a: forward(*a, reset, lengths, m_ref), x, r, state)
        return outputs, pullback(cotangents)

    return both


def cotangents(case: Case, which: str):
    rng = np.random.default_rng(1)
    dy = rng.standard_normal((BATCH, case.time, HEADS, WIDTH)) * (which != "state")
    others = rng.standard_normal((3, BATCH, HEADS, WIDTH)) * (which != "y")
    return jnp.asarray(dy, case.dtype), *(jnp.asarray(a, np.float32) for a in others)


def run(case: Case, implementation: str, which: str, args=None, weights=None):
    """Outputs {y, c, n, last y} and gradients {x, r, state c, ...} of a loss on `which`, as float64 NumPy arrays."""
    args = inputs(case) if args is None else args
    weights = cotangents(case, which) if weights is None else weights
    m = expected(case)[1][2]
    m_ref = jnp.asarray(np.where(np.isfinite(m), m, 0), weights[1].dtype)
    outputs, gradients = compiled(implementation, case.input_gate, case.forget_gate)(weights, *args, m_ref)
    dx, dr, dstate = gradients
    gradients = dict(zip(GRADIENTS, to_float64((dx, dr, *(dstate or ()))), strict=dstate is not None))
    return dict(zip(OUTPUTS, to_float64(outputs), strict=True)), gradients


def scan_in(dtype, case: Case, which: str):
    """`run` of the scan in another dtype, on inputs rounded to the case's dtype."""
    *arrays, reset, lengths = inputs(case)
    arrays, weights = jax.tree.map(lambda a: jnp.asarray(a, dtype), (arrays, cotangents(case, which)))
    return run(case, "scan", which, (*arrays, reset, lengths), weights)


@functools.cache
def reference(case: Case, which: str):
    """What `run` should return: the oracle's outputs, and the gradients of the scan in float64."""
    with jax.enable_x64(True):
        outputs, gradients = scan_in(np.float64, case, which)
    y, (c, n, _, last) = expected(case)
    wanted = dict(zip(OUTPUTS, (y, c, n, last), strict=True))
    for name in OUTPUTS:
        assert error(outputs[name], wanted[name]) < 1e-10, f"the float64 scan is not the oracle's in {name}"
    return wanted, gradients


# Shapes and dtypes that only cost another compilation.
SLOW = (CASES[6], CASES[14], CASES[16])


@each_implementation
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] * (case in SLOW)) for case in CASES], ids=repr
)
def test_outputs_and_gradients(case, implementation):
    """y, the final state and every gradient, r's included, of losses on y, on the final state, and on both.

    Strong gates cost precision in any form. With them, three times the error of the scan in float32 is allowed, up to a
    bound that also holds for the scan.
    """
    for which in ("y", "state", "both"):
        parts, wanted = run(case, implementation, which), reference(case, which)
        own = scan_in(np.float32, case, which) if case.strong else wanted
        for part, limit in enumerate(LIMITS[case.dtype]):
            assert parts[part].keys() == wanted[part].keys()
            for name, got in parts[part].items():
                allowed = max(limit, min(3 * error(own[part][name], wanted[part][name]), 1e-3))
                assert error(got, wanted[part][name]) <= allowed, f"{name}, loss on {which}"


@pytest.mark.parametrize("case", [CASES[2], CASES[7], CASES[9], CASES[11]], ids=repr)
def test_reference_gradients_equal_finite_differences(case, x64):
    """The float64 gradients that the others are compared with, along random directions."""
    *arrays, reset, lengths = inputs(case)
    arrays, weights = jax.tree.map(lambda a: jnp.asarray(a, np.float64), (arrays, cotangents(case, "both")))

    def both(arrays):
        return run(case, "scan", "both", (*arrays, reset, lengths), weights)

    assert_gradients(both, arrays, weights, step=1e-6, tolerance=1e-6)


@each_implementation
@pytest.mark.parametrize("strong", [False, True])
def test_nothing_passes_a_reset(strong, implementation):
    """Outputs from a reset on, and the state, do not depend on earlier steps, in values or gradients."""
    at = 6
    case = Case(reset=((0, at), (1, at)), strong=strong)
    x, r, state, reset, lengths = inputs(case)
    dy, *others = cotangents(case, "both")
    outputs, gradients = run(case, implementation, "both", weights=(dy.at[:, :at].set(0), *others))
    assert not gradients["x"][:, :at].any() and gradients["x"][:, at:].any()
    assert not any(gradients[name].any() for name in GRADIENTS[2:])
    args = (x.at[:, :at].set(x[:, at - 1 :: -1] + 3), r, jax.tree.map(lambda a: a + 2, state), reset, lengths)
    changed, _ = run(case, implementation, "both", args)
    assert error(changed["y"][:, :at], outputs["y"][:, :at]) > 0.1
    np.testing.assert_array_equal(changed["y"][:, at:], outputs["y"][:, at:])
    assert all(error(changed[name], outputs[name]) < 1e-6 for name in OUTPUTS[1:])


@each_implementation
def test_padding_reaches_nothing(implementation):
    """Not even a NaN reaches outputs, the state or gradients, including gradients at the padded steps."""
    case = Case(lengths=(12, 7))
    x, r, state, reset, lengths = inputs(case)
    padding = np.arange(case.time) >= lengths[:, None]
    spoilt = jnp.where(padding[..., None, None, None], jnp.nan, x)
    clean = run(case, implementation, "both")
    dirty = run(case, implementation, "both", (spoilt, r, state, reset, lengths))
    for got, wanted in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert not clean[0]["y"][padding].any() and not clean[1]["x"][padding].any()


@each_implementation
def test_a_named_implementation_runs(implementation):
    x, r = inputs(Case(time=7))[:2]
    text = jax.jit(lambda *a: slstm(*a, implementation=implementation)).lower(x, r).as_text(debug_info=True)
    assert [name for name in IMPLEMENTATIONS if f"slstm_{name}" in text] == [implementation]
