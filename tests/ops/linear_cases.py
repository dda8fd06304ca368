"""The table of cases of retention, gated linear attention and SSD, and the results of an op and its oracle."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracles import linear_attention as oracles
from xlstm_jax.ops import linear_attention
from xlstm_jax.ops.linear_attention import retention

BATCH, HEADS, GROUPS, KEYS, VALUES = 2, 4, 2, 5, 6
NAMES = {  # of the differentiable arguments, the state last
    "retention": ("q", "k", "v", "log_decay", "state"),
    "gated_linear_attention": ("q", "k", "v", "log_f", "state"),
    "ssd": ("x", "dt", "A", "B", "C", "D", "state"),
}
PARAMETERS = ("log_decay", "A", "D", "state")  # without a time axis; float32 even with bfloat16 inputs
CHUNKS = {1: 4, 7: 3, 75: 16}  # by T; none divides it
LIMITS = {"float64": (1e-10, 1e-10), "float32": (1e-5, 1e-4), "bfloat16": (5e-3, 1e-2)}  # outputs, gradients


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


def inputs(op: str, case: Case, dtype="float32"):
    """The differentiable arguments, rounded to the dtype, then resets and lengths; all NumPy."""
    rng = np.random.default_rng(0)
    shape, normal = (BATCH, case.time, HEADS), np.random.default_rng(1).standard_normal
    gates = np.exp(rng.uniform(-6, 1, shape))  # -log f: from a nearly open gate to one that closes
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
    """(o, S) and the gradients of <o, do> + <S, dS> by name, as returned by the op."""
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
    """The oracle's outputs, and the recurrent form's gradients in float64, on inputs rounded to the dtype."""
    args, reset, lengths = inputs(op, case, dtype)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), (args, cotangents(case.time, dtype)))
        gradients = run(op, "recurrent", wide[0], reset, lengths, wide[1])[1]
    return oracle(op, args, reset, lengths), gradients


def error(got, wanted) -> float:
    """||got - wanted|| / ||wanted||; the plain norm if `wanted` is zero."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1))
