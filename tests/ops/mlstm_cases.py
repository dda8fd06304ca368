"""The one table of cases for every implementation of the mLSTM op, and the inputs of a case."""

import dataclasses
import random

import jax.numpy as jnp
import numpy as np

from tests.ops.numeric import pairwise
from xlstm_jax.ops.mlstm import MLSTMState

BATCH = 2
STRONG = ("15", "30", "60", "80")


@dataclasses.dataclass(frozen=True)
class Case:
    """One row. Rows that differ only in the first seven fields share a compilation, unless one of these is None."""

    gates: str = "normal"  # or of STRONG: uniform in +- that; "forget": all forget gates nearly shut
    # A key of `resets`, or (sequence, step) pairs; None leaves the argument out.
    reset: str | tuple[tuple[int, int], ...] | None = "none"
    lengths: str | tuple[int, ...] | None = "full"  # or of `full_lengths`, or numbers; None leaves the argument out
    state: str | None = "zero"  # or "normal"; None leaves the argument out
    zero: str = ""  # the ones of q, k, v, i, f that are zero
    norm: bool = False  # apply a layer norm over V to h, so that losses and errors are of normed h
    seed: int = 0
    time: int = 75
    chunk: int | None = 16
    heads: int = 2
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
        return self.gates in STRONG


SIGMOID = {"input_gate": "sigmoid"}
# Fields that cost a compilation: each T, chunks from one step to beyond T, K different from V, 1 or more heads, gates.
STATIC = [
    {},
    {"forget_gate": "exp", "chunk": 7},
    {"eps": 1e-6, "chunk": 64},
    {**SIGMOID, "chunk": 7, "heads": 1},
    {"dtype": "bfloat16"},
    {"dtype": "bfloat16", **SIGMOID, "normalize": False, "chunk": 64},
    {**SIGMOID, "forget_gate": "exp", "time": 7, "chunk": 16, "eps": 1e-6},
    {**SIGMOID, "normalize": False, "time": 7, "chunk": 7, "keys": 5, "values": 3, "heads": 3},
    {"time": 7, "chunk": 1, "keys": 16, "values": 8, "heads": 1},
    {"time": 2, "chunk": 1},
    {"time": 1, "chunk": 7, "keys": 8, "values": 8},
    {"time": 93, "chunk": 31, "heads": 1},
    {"time": 128, "chunk": 200, "heads": 4, "keys": 16, "values": 8},
    {"time": 500, "chunk": None},
]
# Fields that do not.
VALUES = {
    "gates": ["normal", "15", "60", "forget"],
    "reset": ["none", "ends", "random", "everywhere"],
    "lengths": ["full", "with 0", "ragged"],
    "state": ["zero", "normal"],
    "norm": [False, True],
}
# Rows in addition to the pairs: arguments left out, zero inputs, gates at which e^-m leaves float32.
EXTRA = [
    Case(reset=None, lengths=None, state=None, chunk=None),
    Case(zero="qkvif", state="normal"),
    Case(zero="kv", reset="ends"),
    Case(zero="q", state="normal", lengths="ragged"),
    Case(zero="v", gates="60", norm=True),
    Case("80", reset="random", state="normal"),
    Case("60", forget_gate="exp", chunk=7, reset="random", state="normal"),
    Case("30", state="normal", dtype="bfloat16"),
    Case("30", eps=1e-6, chunk=64),
]


def _pairs() -> list[Case]:
    """Any two values of different dimensions occur together at least once; rows of one compilation are adjacent."""
    rows = sorted(pairwise({"static": list(range(len(STATIC))), **VALUES}), key=lambda row: row["static"])
    return [Case(**STATIC[row.pop("static")], **row) for row in rows]


def _random(count: int) -> list[Case]:
    """Rows with random values in all dimensions, including the static ones."""
    rng = random.Random(0)
    static = {
        "time": [1, 2, 7, 75, 93, 128, 500],
        "chunk": [1, 7, 16, 64, 100, 600, None],
        "heads": [1, 2, 4],
        "forget_gate": ["sigmoid", "exp"],
        "eps": [0.0, 1e-6],
        "dtype": ["float32", "bfloat16"],
    }
    rows = []
    for seed in range(1, count + 1):
        row = {name: rng.choice(values) for name, values in (static | VALUES).items()}
        row["keys"], row["values"] = rng.choice([(8, 16), (16, 8), (5, 3), (8, 8)])
        row["input_gate"], row["normalize"] = rng.choice([("exp", True), ("sigmoid", True), ("sigmoid", False)])
        if row["input_gate"] == "sigmoid" and row["gates"] in STRONG:
            row["forget_gate"] = "sigmoid"  # an exponential one would grow without bound, since m = 0 does not limit it
        rows.append(Case(**row, seed=seed))
    return rows


CASES = [*EXTRA, *_pairs()]
SLOW_CASES = _random(40)


def inputs(case: Case):
    """(q, k, v, i, f, state, reset, lengths), rounded to the case's dtype; the state is float32."""
    rng = np.random.default_rng(case.seed)
    shape = (BATCH, case.time, case.heads)
    q, k = rng.standard_normal((2, *shape, case.keys))
    v = rng.standard_normal((*shape, case.values))
    i, f = rng.standard_normal((2, *shape))
    # Long memories without growth.
    f += 2 if case.forget_gate == "sigmoid" else -0.2
    if case.strong:
        i, f = rng.uniform(-float(case.gates), float(case.gates), (2, *shape))
    if case.gates == "forget":
        f = np.full(shape, -6.0)
    named = zip("qkvif", (q, k, v, i, f), strict=True)
    arrays = [jnp.asarray(a * (name not in case.zero), case.dtype) for name, a in named]
    state = reset = lengths = None
    if case.state is not None:
        scale = float(case.state == "normal")
        sizes = (case.keys, case.values), (case.keys,), ()
        leaves = [scale * rng.standard_normal((BATCH, case.heads, *size)) for size in sizes]
        state = MLSTMState(*[jnp.asarray(leaf, np.float32) for leaf in leaves])
    if case.reset is not None:
        reset = resets(case)
    if case.lengths is not None:
        named = {"full": (case.time, case.time), "with 0": (case.time, 0), "ragged": (1, (2 * case.time + 2) // 3)}
        lengths = np.array(named.get(case.lengths, case.lengths), np.int32)
    return (*arrays, state, reset, lengths)


def resets(case: Case) -> np.ndarray:
    """[B, T]: "none"; "ends": the first and last step; "random": one in ten and two neighbours; "everywhere"."""
    reset_BT = np.zeros((BATCH, case.time), bool)
    if case.reset == "ends":
        reset_BT[0, 0] = reset_BT[1, -1] = True
    elif case.reset == "random":
        reset_BT = np.random.default_rng(3).random((BATCH, case.time)) < 0.1
        reset_BT[0, case.time // 3 : case.time // 3 + 2] = True
    elif case.reset == "everywhere":
        reset_BT[:] = True
    elif case.reset != "none":
        for b, t in case.reset:
            reset_BT[b, t] = True
    return reset_BT


def cotangents(case: Case, which: str):
    """Normal weights of a loss on "h", on the "state", or on "both", of the case's dtype and of the state's."""
    rng = np.random.default_rng(1)
    sizes = (case.time, case.heads, case.values), (case.heads, case.keys, case.values), (case.heads, case.keys)
    dh, dC, dn = (rng.standard_normal((BATCH, *size)) for size in sizes)
    on_h, on_state = which in ("h", "both"), which in ("state", "both")
    return jnp.asarray(dh * on_h, case.dtype), *(jnp.asarray(a * on_state, np.float32) for a in (dC, dn))
