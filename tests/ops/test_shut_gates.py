"""Forget gates that shut, down to minus infinity, and inputs shut out by an input gate of minus infinity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.meshes import mesh
from tests.ops.numeric import error, to_float64
from tests.oracles.mlstm import mlstm as mlstm_oracle
from tests.oracles.slstm import slstm as slstm_oracle
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS, MLSTMState, mlstm
from xlstm_jax.ops.mlstm.pallas import Chunk
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import MOST_STEPS
from xlstm_jax.ops.slstm import IMPLEMENTATIONS as SLSTM_IMPLEMENTATIONS
from xlstm_jax.ops.slstm import slstm

pytestmark = pytest.mark.usefixtures("rolled")

TIME, HALF, CHUNK, KEYS, VALUES = 40, 20, 16, 4, 3
TPU = Chunk(CHUNK)  # kernels for TPUs, interpreted
SHUT = (-1e3, -1e4, -1e5, -1e6, -1e7, -1e9, -np.inf)
PATTERNS = ("one", "many", "mixed", "all", "loud", "no input", "late input")
ROWS = [(value, pattern) for value in SHUT for pattern in PATTERNS]
# Outputs and states, then gradients.
LIMITS = {"float32": (1e-5, 1e-4), "float64": (1e-11, 1e-10)}
NAMES = ("q", "k", "v", "i", "f", "state C", "state n", "state m")


def shut(i, f, value: float, pattern: str):
    """The gates i, f [T, ...] of one sequence, with forget gates of `value` among weak ones."""
    i, f = i.copy(), f.copy()
    if pattern == "mixed":
        f = np.where(np.random.default_rng(1).random(f.shape) < 0.3, value, f)
    else:
        f[{"one": slice(13, 14), "many": slice(10, HALF), "all": slice(None)}.get(pattern, slice(13, 15))] = value
    if pattern == "loud":  # earlier inputs, shut out, would outweigh later ones by e^60
        i[:13] += 30
        i[13:] -= 30
    if pattern == "no input":
        i[12:HALF] = -np.inf
    if pattern == "late input":
        i[:HALF] = -np.inf
    return i, f


@functools.cache
def sequences(forget_gate: str):
    """(q, k, v, i, f, state), one sequence per row, float32 values; the state is zero before a late input."""
    rng, batch = np.random.default_rng(0), len(ROWS)
    q, k = rng.standard_normal((2, batch, TIME, 1, KEYS))
    v = rng.standard_normal((batch, TIME, 1, VALUES))
    i, f = rng.standard_normal((2, batch, TIME, 1))
    f = f + 2 if forget_gate == "sigmoid" else -0.2 * np.abs(f)
    for row, (value, pattern) in enumerate(ROWS):
        i[row], f[row] = shut(i[row], f[row], value, pattern)
    state = [rng.standard_normal((batch, 1, *size)) for size in ((KEYS, VALUES), (KEYS,), ())]
    late = np.array([pattern == "late input" for _, pattern in ROWS])
    state = [np.where(late.reshape(-1, *[1] * (a.ndim - 1)), 0, a) for a in state]
    return jax.tree.map(lambda a: a.astype(np.float32), (q, k, v, i, f, MLSTMState(*state)))


def weights(dtype):
    rng = np.random.default_rng(2)
    sizes = (TIME, 1, VALUES), (1, KEYS, VALUES), (1, KEYS)
    return tuple(jnp.asarray(rng.standard_normal((len(ROWS), *size)), dtype) for size in sizes)


@functools.cache
def mlstm_run(implementation: str, forget_gate: str, dtype: str, on_mesh: bool = False):
    """(h, C e^m, n e^m) and all gradients."""

    def forward(*args):
        *arrays, state = args
        options = {"forget_gate": forget_gate, "implementation": implementation, "chunk_size": CHUNK}
        h, state = mlstm(*arrays, state=state, **options)
        scale = jnp.exp(state.m)
        return h, state.C * scale[..., None, None], state.n * scale[..., None]

    @jax.jit
    def both(weights, *args):
        outputs, pullback = jax.vjp(forward, *args)
        return outputs, pullback(weights)

    with jax.enable_x64(dtype == "float64"):
        args = jax.tree.map(lambda a: jnp.asarray(a, dtype), sequences(forget_gate))
        outputs, gradients = to_float64(both(weights(dtype), *args))
    return outputs, jax.tree.leaves(gradients)


@functools.cache
def mlstm_expected(forget_gate: str):
    *arrays, state = to_float64(sequences(forget_gate))
    # If all gates are shut the equations have inf - inf: very large numbers replace infinity.
    arrays[3:] = [np.where(np.isinf(a), -1e12, a) for a in arrays[3:]]
    batch = len(ROWS)
    with np.errstate(over="ignore"):
        h, (C, n, m) = mlstm_oracle(
            *arrays, tuple(state), np.zeros((batch, TIME), bool), np.full(batch, TIME), forget_gate=forget_gate
        )
    scale = np.exp(m)
    return h, C * scale[..., None, None], n * scale[..., None]


def errors(got, wanted, scales=None):
    """The error of each row."""
    scales = np.zeros(len(ROWS)) if scales is None else scales
    return np.array([error(*row) for row in zip(got, wanted, scales, strict=True)])


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_the_scanned_mlstm_is_the_oracles(forget_gate):
    """In float64, the reference for other forms' gradients; shut gates have a gradient of exactly zero."""
    outputs, gradients = mlstm_run("recurrent", forget_gate, "float64")
    for got, wanted, name in zip(outputs, mlstm_expected(forget_gate), ("h", "C", "n"), strict=True):
        assert errors(got, wanted).max() <= 1e-9, name  # where n.q nearly cancels
    df = gradients[NAMES.index("f")]
    assert not df[sequences(forget_gate)[4] <= -1e4].any() and df.any()


@pytest.mark.parametrize(
    ("implementation", "forget_gate"),
    [
        pytest.param(name, gate, marks=[pytest.mark.slow] * ((name, gate) == ("pallas", "sigmoid")))
        for name in [*IMPLEMENTATIONS, TPU]
        for gate in ("sigmoid", "exp")
    ],
)
def test_mlstm(implementation, forget_gate):
    held(*mlstm_run(implementation, forget_gate, "float32"), forget_gate, "float32")


@pytest.mark.parametrize("implementation", ["chunkwise", "associative"])
def test_mlstm_in_float64(implementation):
    held(*mlstm_run(implementation, "sigmoid", "float64"), "sigmoid", "float64")


def test_mlstm_over_devices():
    """A sequence split over four devices, with gates shut at the borders and inside."""
    with jax.set_mesh(mesh(context=4)):
        held(*mlstm_run("chunkwise", "sigmoid", "float32", on_mesh=True), "sigmoid", "float32")


def held(outputs, gradients, forget_gate: str, dtype: str):
    """Outputs and states against the oracle, gradients against the scanned form in float64, row by row; if n.q
    nearly cancels, three times the scanned form's own error is allowed."""
    own, exact = mlstm_run("recurrent", forget_gate, dtype), mlstm_run("recurrent", forget_gate, "float64")[1]
    of_outputs, of_gradients = LIMITS[dtype]
    for got, wanted, scanned, name in zip(outputs, mlstm_expected(forget_gate), own[0], ("h", "C", "n"), strict=True):
        allowed = np.maximum(of_outputs, 3 * errors(scanned, wanted))
        wrong = ~(errors(got, wanted) <= allowed)
        assert not wrong.any(), f"{name} of {ROWS[np.argmax(wrong)]}"
    # A gate's gradient is a sum of terms that cancel, fully if all are shut: its error is relative to their size.
    cancelled = 1e-2 * np.linalg.norm(np.sum(to_float64(sequences(forget_gate)[2]) * exact[2], axis=-1), axis=(1, 2))
    for got, wanted, scanned, name in zip(gradients, exact, own[1], NAMES, strict=True):
        allowed = np.maximum(of_gradients, 3 * errors(scanned, wanted, cancelled))
        wrong = ~(errors(got, wanted, cancelled) <= allowed)
        assert not wrong.any(), f"gradient of {name} of {ROWS[np.argmax(wrong)]}"


@pytest.mark.parametrize("log_i", [0, 1e3, 1e6])
def test_many_steps_of_a_long_chunk(log_i):
    """A TPU's kernels keep exponents as whole numbers that wrap around; the longest chunk sums up the most."""
    time, rng = 600, np.random.default_rng(0)
    q, k, v = jnp.asarray(rng.standard_normal((3, 1, time, 1, KEYS)), jnp.float32)
    i = jnp.asarray(log_i + rng.standard_normal((1, time, 1)), jnp.float32)
    f = jnp.full((1, time, 1), -jnp.inf)
    got, wanted = (
        jax.jit(lambda *a, name=name: mlstm(*a, implementation=name)[0])(q, k, v, i, f)
        for name in (Chunk(MOST_STEPS), "recurrent")
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="more than 512 steps"):
        mlstm(q, k, v, i, f, implementation=Chunk(MOST_STEPS + 128))


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, TPU])
def test_mlstm_without_input(implementation):
    """Nothing was ever written: h and all gradients are 0, also with `eps`, where m has a gradient."""
    q, k, v, i, f, state = jax.tree.map(lambda a: jnp.asarray(a[:2]), sequences("sigmoid"))
    i, state = jnp.full_like(i, -jnp.inf), jax.tree.map(jnp.zeros_like, state)
    f = f.at[0, 5].set(-jnp.inf)

    def forward(*args):
        h, end = mlstm(*args, state=state, implementation=implementation, chunk_size=CHUNK, eps=1e-6)
        return h, end.C, end.n

    @jax.jit
    def both(*args):
        outputs, pullback = jax.vjp(forward, *args)
        return outputs, pullback(jax.tree.map(jnp.ones_like, outputs))

    assert not any(np.asarray(a).any() for a in jax.tree.leaves(both(q, k, v, i, f)))  # a NaN counts as true


# The sLSTM divides by n without a bound, so an input counts however small its gate.
SLSTM_ROWS = [(value, of) for value in SHUT for of in ("one", "many", "mixed", "loud")]


@functools.cache
def slstm_run(implementation: str, dtype: str, alone: bool = False):
    """y, c, n, last y and the gradients of x and r; `alone`: the second half of the sequences, from an empty state."""
    x, r = slstm_inputs()
    x = x[:, HALF:] if alone else x

    @jax.jit
    def both(x, r):
        def forward(x, r):
            y, state = slstm(x, r, implementation=implementation)
            return y, state.c / state.n, state.y

        outputs, pullback = jax.vjp(forward, x, r)
        return outputs, pullback(jax.tree.map(jnp.cos, outputs))

    with jax.enable_x64(dtype == "float64"):
        return to_float64(both(jnp.asarray(x, dtype), jnp.asarray(r, dtype)))


@functools.cache
def slstm_inputs():
    """x [B,T,4,H,D] and r; the last two rows have nothing before their second half, from the start or after a step
    that keeps and writes nothing."""
    rng, batch = np.random.default_rng(0), len(SLSTM_ROWS) + 2
    x, r = rng.standard_normal((batch, TIME, 4, 1, KEYS)), 0.5 * rng.standard_normal((4, 1, KEYS, KEYS))
    for row, of in enumerate(SLSTM_ROWS):
        x[row, :, 0], x[row, :, 1] = shut(x[row, :, 0], x[row, :, 1] + 2, *of)
    x[-2, :HALF, 0] = -np.inf
    x[-1, HALF - 1, :2] = -np.inf
    return x.astype(np.float32), r.astype(np.float32)


@pytest.mark.parametrize("implementation", list(SLSTM_IMPLEMENTATIONS))
def test_slstm(implementation):
    """Outputs and states against the oracle, gradients against the scan in float64."""
    rows, (x, r) = len(SLSTM_ROWS), to_float64(slstm_inputs())
    zero = np.zeros((rows, 1, KEYS))
    start = (zero, zero, np.full_like(zero, -np.inf), zero)
    y, (c, n, _, last) = slstm_oracle(x[:rows], r, start, np.zeros((rows, TIME), bool), np.full(rows, TIME))
    outputs, gradients = slstm_run(implementation, "float32")
    for got, wanted in zip(outputs, (y, c / n, last), strict=True):
        for row, of in enumerate(SLSTM_ROWS):
            assert error(got[row], wanted[row]) <= 1e-5, of
    for got, wanted in zip(gradients, slstm_run("scan", "float64")[1], strict=True):
        assert error(got, wanted) <= 1e-4


@pytest.mark.parametrize("implementation", list(SLSTM_IMPLEMENTATIONS))
def test_slstm_without_input(implementation):
    """y is 0 if nothing was ever written; the second half then equals that half run separately."""
    (y, *_), (dx, _) = slstm_run(implementation, "float32")
    (y_alone, *_), (dx_alone, _) = slstm_run("scan", "float64", alone=True)
    assert not y[-2, :HALF].any() and not y[-1, HALF - 1].any()
    assert error(y[-2:, HALF:], y_alone[-2:]) <= 1e-5 and error(dx[-2:, HALF:], dx_alone[-2:]) <= 1e-4
    assert not dx[-2, :HALF].any()
