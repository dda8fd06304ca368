"""The one table of cases for every implementation of the mLSTM op, and the inputs, oracle and gradients of a case."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracles.mlstm import mlstm as oracle
from xlstm_jax.ops.mlstm import MLSTMState, mlstm

BATCH, HEADS = 2, 2
OUTPUTS = ("h", "C", "n")
GRADIENTS = ("q", "k", "v", "i", "f", "state C", "state n", "state m")


@dataclasses.dataclass(frozen=True)
class Case:
    """One row. Rows that differ in values only (those of `gates`, `reset`, `lengths`, `state`) share a compilation."""

    gates: str = "normal"  # or "30", "80": uniform in +-; "forget": every forget gate all but shut
    reset: tuple[tuple[int, int], ...] | None = ()  # (sequence, step) pairs; None leaves the argument out
    lengths: tuple[int, ...] | None = ()  # () is full; None leaves the argument out
    state: str | None = "zero"  # or "normal"; None leaves the argument out
    time: int = 75
    chunk: int | None = 16
    keys: int = 8
    values: int = 16
    input_gate: str = "exp"
    forget_gate: str = "sigmoid"
    normalize: bool = True
    eps: float = 0.0
    dtype: str = "float32"

    def __repr__(self) -> str:
        changed = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        return ",".join(f"{f.name}={getattr(self, f.name)}" for f in changed).replace(" ", "") or "default"

    @property
    def strong(self) -> bool:
        return self.gates in ("30", "80")


RESETS = ((0, 0), (0, 20), (0, 21), (1, 33), (1, 74))
SIGMOID = {"input_gate": "sigmoid"}
CASES = [
    Case(),
    Case(reset=RESETS, state="normal"),
    Case(lengths=(75, 0), state="normal"),
    Case(lengths=(1, 40), reset=RESETS),
    Case("30"),
    Case("80", reset=RESETS, state="normal"),
    Case("forget", state="normal"),
    Case(reset=None, lengths=None, state=None, chunk=None),
    Case("30", state="normal", lengths=(75, 60)),
    Case("80", forget_gate="exp", chunk=7, reset=RESETS, state="normal"),
    Case(forget_gate="exp", chunk=7, lengths=(75, 50)),
    Case(eps=1e-6, chunk=64, lengths=(75, 33), reset=RESETS, state="normal"),
    Case("30", eps=1e-6, chunk=64),
    Case(**SIGMOID, chunk=7, reset=RESETS, state="normal"),
    Case("30", **SIGMOID, chunk=7, lengths=(70, 75)),
    Case(**SIGMOID, forget_gate="exp", time=7, chunk=16, eps=1e-6, state="normal"),
    Case(**SIGMOID, normalize=False, time=7, chunk=7, keys=5, values=3, reset=((0, 4), (1, 0)), state="normal"),
    Case(time=7, chunk=1, reset=((0, 3), (0, 4), (1, 6)), lengths=(7, 4), state="normal", keys=16, values=8),
    Case("80", time=2, chunk=1, lengths=None, reset=((0, 1),), state="normal"),
    Case(time=1, chunk=7, state="normal", reset=((0, 0),)),
    Case("30", time=1, chunk=None, reset=None, lengths=None, state=None),
    Case(dtype="bfloat16"),
    Case(dtype="bfloat16", reset=RESETS, state="normal", lengths=(75, 60)),
    Case("30", dtype="bfloat16", state="normal"),
    Case(dtype="bfloat16", **SIGMOID, normalize=False, chunk=64, reset=None, lengths=None, state="normal"),
]


def inputs(case: Case):
    """(q, k, v, i, f, state, reset, lengths), rounded to the case's dtype; the state is float32."""
    rng = np.random.default_rng(0)
    shape = (BATCH, case.time, HEADS)
    q, k = rng.standard_normal((2, *shape, case.keys))
    v = rng.standard_normal((*shape, case.values))
    i, f = rng.standard_normal((2, *shape))
    # Long memories, but no growth.
    f += 2 if case.forget_gate == "sigmoid" else -0.2
    if case.strong:
        i, f = rng.uniform(-float(case.gates), float(case.gates), (2, *shape))
    if case.gates == "forget":
        f = np.full(shape, -6.0)
    arrays = [jnp.asarray(a, case.dtype) for a in (q, k, v, i, f)]
    state = reset = lengths = None
    if case.state is not None:
        scale = float(case.state == "normal")
        sizes = (case.keys, case.values), (case.keys,), ()
        state = MLSTMState(*[jnp.asarray(scale * rng.standard_normal((BATCH, HEADS, *s)), np.float32) for s in sizes])
    if case.reset is not None:
        reset = np.zeros((BATCH, case.time), bool)
        for b, t in case.reset:
            reset[b, t] = True
    if case.lengths is not None:
        lengths = np.array(case.lengths or (case.time,) * BATCH, np.int32)
    return (*arrays, state, reset, lengths)


def to_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


@functools.cache
def expected(case: Case):
    """The oracle's h [B,T,H,V] and final state (C, n, m)."""
    q, k, v, i, f, state, reset, lengths = inputs(case)
    shapes = (BATCH, HEADS, case.keys, case.values), (BATCH, HEADS, case.keys), (BATCH, HEADS)
    state = [np.zeros(shape) for shape in shapes] if state is None else to_float64(state)
    reset = np.zeros((BATCH, case.time), bool) if reset is None else reset
    lengths = np.full(BATCH, case.time) if lengths is None else lengths
    options = {name: getattr(case, name) for name in ("input_gate", "forget_gate", "normalize", "eps")}
    return oracle(*to_float64((q, k, v, i, f)), tuple(state), reset, lengths, **options)


@functools.cache
def _compiled(implementation, chunk, input_gate, forget_gate, normalize, eps):
    """Outputs and gradients of `mlstm` with its state as (C e^(m - m_ref), n e^(m - m_ref)), free of the gauge."""

    def forward(q, k, v, i, f, state, reset, lengths, m_ref):
        h, state = mlstm(
            q,
            k,
            v,
            i,
            f,
            state=state,
            reset_BT=reset,
            lengths_B=lengths,
            input_gate=input_gate,
            forget_gate=forget_gate,
            normalize=normalize,
            eps=eps,
            chunk_size=chunk,
            implementation=implementation,
        )
        scale = jnp.exp(state.m - m_ref)
        return h, state.C * scale[..., None, None], state.n * scale[..., None]

    @jax.jit
    def both(cotangents, *args):
        *differentiable, reset, lengths, m_ref = args
        outputs, pullback = jax.vjp(lambda *a: forward(*a, reset, lengths, m_ref), *differentiable)
        return outputs, pullback(cotangents)

    return both


def compiled(case: Case, implementation: str):
    # These two take no notice of it, so that cases with different ones share a compilation.
    chunk = None if implementation in ("recurrent", "parallel") else case.chunk
    return _compiled(implementation, chunk, case.input_gate, case.forget_gate, case.normalize, case.eps)


def cotangents(case: Case, which: str):
    """Normal weights of a loss on "h", on the "state", or on "both", of the case's dtype and of the state's."""
    rng = np.random.default_rng(1)
    sizes = (case.time, HEADS, case.values), (HEADS, case.keys, case.values), (HEADS, case.keys)
    dh, dC, dn = (rng.standard_normal((BATCH, *size)) for size in sizes)
    on_h, on_state = which in ("h", "both"), which in ("state", "both")
    return jnp.asarray(dh * on_h, case.dtype), *(jnp.asarray(a * on_state, np.float32) for a in (dC, dn))


def gauge(case: Case, dtype=np.float32):
    """The oracle's m [B, H], the scale in which states are compared."""
    return jnp.asarray(expected(case)[1][2], dtype)


def run(case: Case, implementation: str, which: str, args=None, weights=None):
    """Outputs {h, C, n} and gradients {q, ..., state m} of a loss on `which`, as float64 NumPy arrays."""
    args = inputs(case) if args is None else args
    weights = cotangents(case, which) if weights is None else weights
    outputs, gradients = compiled(case, implementation)(weights, *args, gauge(case, weights[1].dtype))
    *gates, state = gradients
    gradients = dict(zip(GRADIENTS, to_float64((*gates, *(state or ()))), strict=state is not None))
    return dict(zip(OUTPUTS, to_float64(outputs), strict=True)), gradients


def recurrent_in(dtype, case: Case, which: str):
    """`run` of the recurrent form in another dtype, on inputs as rounded to the case's own."""
    *arrays, reset, lengths = inputs(case)
    arrays, weights = jax.tree.map(lambda a: jnp.asarray(a, dtype), (arrays, cotangents(case, which)))
    return run(case, "recurrent", which, (*arrays, reset, lengths), weights)


@functools.cache
def reference(case: Case, which: str):
    """What `run` should give: the oracle's outputs, and the gradients of the recurrent form in float64."""
    with jax.enable_x64(True):
        outputs, gradients = recurrent_in(np.float64, case, which)
    h, (C, n, _) = expected(case)
    for name, wanted in {"h": h, "C": C, "n": n}.items():
        assert error(outputs[name], wanted) < 1e-10, f"the float64 recurrent form is not the oracle's in {name}"
    return {"h": h, "C": C, "n": n}, gradients


def error(got, wanted) -> float:
    """||got - wanted|| / ||wanted||; norms under 1e-30 count as that, since float32's entries run out near 1e-38."""
    return float(np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), 1e-30))
