"""Errors of every mLSTM implementation over the table of cases; `python -m tests.ops.errors` prints the worst.

Outputs are compared with the float64 oracle, gradients with those of the recurrent form in float64, which a test
checks by finite differences.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.ops.mlstm_cases import BATCH, CASES, Case, cotangents, inputs
from tests.ops.numeric import LIMITS, error, to_float64
from tests.oracles.mlstm import mlstm as oracle
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS, mlstm
from xlstm_jax.ops.recurrence import scan

OUTPUTS = ("h", "C", "n")
GRADIENTS = ("q", "k", "v", "i", "f", "state C", "state n", "state m")
NORM_EPS = 1e-6
# Largest error allowed with strong gates, in any form.
STRONG_BOUND = 0.02
ORDERS = 4
# Fraction of terms that cancel which counts as a gradient's size; in bfloat16 these terms are themselves rounded.
CANCELLED = {"float32": 1e-2, "bfloat16": 1e-1}


class Measured(NamedTuple):
    """One comparison: `name` is an output, or the input whose gradient it is."""

    which: str
    part: str
    name: str
    error: float
    allowed: float


def measured(case: Case, implementation: str):
    """The error and its limit for h, the final state and every gradient, with losses on h, on the state, and on both.

    Strong gates cost precision in any form. With them, three times the error of the recurrent form in float32 is
    allowed, up to a bound that also holds for the recurrent form. A few steps whose n.q nearly cancels cause most of
    that error, so it varies randomly with the order of a sum: the largest over some orders of the features is used.
    """
    for which in ("h", "state", "both"):
        parts, wanted, sizes = run(case, implementation, which), reference(case, which), scales(case, which)
        own = recurrent_float32(case, which) if case.strong else [wanted]
        for part, limit in enumerate(LIMITS[case.dtype]):
            assert parts[part].keys() == wanted[part].keys()
            for name in parts[part]:
                distances = [error(a[part][name], wanted[part][name], sizes.get(name, 0)) for a in (parts, *own)]
                allowed = max(limit, min(3 * max(distances[1:]), STRONG_BOUND))
                yield Measured(which, ("output", "gradient")[part], name, distances[0], allowed)


@functools.cache
def expected(case: Case):
    """The oracle's h [B,T,H,V], normed if the case says so, and final state (C, n, m)."""
    q, k, v, i, f, state, reset, lengths = inputs(case)
    shapes = (BATCH, case.heads, case.keys, case.values), (BATCH, case.heads, case.keys), (BATCH, case.heads)
    state = [np.zeros(shape) for shape in shapes] if state is None else to_float64(state)
    reset = np.zeros((BATCH, case.time), bool) if reset is None else reset
    lengths = np.full(BATCH, case.time) if lengths is None else lengths
    options = {name: getattr(case, name) for name in ("input_gate", "forget_gate", "normalize", "eps")}
    h, state = oracle(*to_float64((q, k, v, i, f)), tuple(state), reset, lengths, **options)
    if case.norm:
        h = (h - h.mean(axis=-1, keepdims=True)) / np.sqrt(h.var(axis=-1, keepdims=True) + NORM_EPS)
    return h, state


@functools.cache
def _compiled(implementation, chunk, input_gate, forget_gate, normalize, eps):
    """Outputs and gradients of `mlstm` with its state as (C e^(m - m_ref), n e^(m - m_ref)), free of the gauge."""

    def forward(q, k, v, i, f, state, reset, lengths, m_ref, norm):
        options = {"input_gate": input_gate, "forget_gate": forget_gate, "normalize": normalize, "eps": eps}
        h, state = mlstm(
            q,
            k,
            v,
            i,
            f,
            state=state,
            reset_BT=reset,
            lengths_B=lengths,
            **options,
            chunk_size=chunk,
            implementation=implementation,
        )
        scale = jnp.exp(state.m - m_ref)
        # A value, not an option, so that rows with the norm and rows without share a compilation.
        h = jnp.where(norm, _layer_norm(h.astype(state.C.dtype)).astype(h.dtype), h)
        return h, state.C * scale[..., None, None], state.n * scale[..., None]

    @jax.jit
    def both(cotangents, *args):
        *differentiable, reset, lengths, m_ref, norm = args
        outputs, pullback = jax.vjp(lambda *a: forward(*a, reset, lengths, m_ref, norm), *differentiable)
        return outputs, pullback(cotangents)

    return both


def _layer_norm(h):
    centred = h - jnp.mean(h, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + NORM_EPS)


def compiled(case: Case, implementation: str):
    """(cotangents, q, k, v, i, f, state, reset, lengths, m_ref, norm) -> outputs, gradients; jitted."""
    # These two ignore the chunk size, so that cases with different ones share a compilation.
    chunk = None if implementation in ("recurrent", "parallel") else case.chunk
    return _compiled(implementation, chunk, case.input_gate, case.forget_gate, case.normalize, case.eps)


def gauge(case: Case, dtype=np.float32):
    """The oracle's m [B, H], the scale in which states are compared."""
    return jnp.asarray(expected(case)[1][2], dtype)


def run(case: Case, implementation: str, which: str, args=None, weights=None):
    """Outputs {h, C, n} and gradients {q, ..., state m} of a loss on `which`, as float64 NumPy arrays."""
    args = inputs(case) if args is None else args
    weights = cotangents(case, which) if weights is None else weights
    m_ref = gauge(case, weights[1].dtype)
    outputs, gradients = compiled(case, implementation)(weights, *args, m_ref, np.bool_(case.norm))
    *gates, state = gradients
    gradients = dict(zip(GRADIENTS, to_float64((*gates, *(state or ()))), strict=state is not None))
    return dict(zip(OUTPUTS, to_float64(outputs), strict=True)), gradients


def recurrent_in(dtype, case: Case, which: str, args=None, weights=None):
    """`run` of the recurrent form in another dtype, on inputs rounded to the case's dtype."""
    *arrays, reset, lengths = inputs(case) if args is None else args
    weights = cotangents(case, which) if weights is None else weights
    arrays, weights = jax.tree.map(lambda a: jnp.asarray(a, dtype), (arrays, weights))
    return run(case, "recurrent", which, (*arrays, reset, lengths), weights)


@functools.cache
def recurrent_float32(case: Case, which: str):
    """`run` of the recurrent form in float32 with the features of K in several orders, restored afterwards."""
    rng, results = np.random.default_rng(2), []
    q, k, *rest, state, reset, lengths = inputs(case)
    dh, dC, dn = cotangents(case, which)
    for order in (np.arange(case.keys), *(rng.permutation(case.keys) for _ in range(ORDERS - 1))):
        back = np.argsort(order)
        moved = state if state is None else state._replace(C=state.C[:, :, order], n=state.n[..., order])
        args = (q[..., order], k[..., order], *rest, moved, reset, lengths)
        parts = recurrent_in(np.float32, case, which, args, (dh, dC[:, :, order], dn[..., order]))
        for part, along_last, along_third in zip(parts, (("n",), ("q", "k", "state n")), ("C", "state C"), strict=True):
            part.update({name: part[name][..., back] for name in along_last if name in part})
            part.update({along_third: part[along_third][:, :, back]} if along_third in part else {})
        results.append(parts)
    return results


@functools.cache
def reference(case: Case, which: str):
    """What `run` should return: the oracle's outputs, and the gradients of the recurrent form in float64."""
    with jax.enable_x64(True):
        outputs, gradients = recurrent_in(np.float64, case, which)
    h, (C, n, _) = expected(case)
    for name, wanted in {"h": h, "C": C, "n": n}.items():
        assert error(outputs[name], wanted) < 1e-10, f"the float64 recurrent form is not the oracle's in {name}"
    return {"h": h, "C": C, "n": n}, gradients


@functools.cache
def scales(case: Case, which: str) -> dict[str, float]:
    """Norms of gradients before large terms cancel, to which rounding errors are relative.

    A norm after h removes from a gradient everything that only scales h, often nearly all of it. The scale is then that
    of the gradient without those two projections. The normalizer does the same within h, completely if h has one term
    (T = 1, a reset at each step). The forget gate's gradient is a sum of differences, which vanishes at a reset. For
    these gradients and for that of the state's m, which without eps has no meaning apart from C and n, a part of
    v . dv counts: the gradient of a step's weight in the numerator only.
    """
    gradients = reference(case, which)[1]
    sizes = dict.fromkeys(gradients, 0.0)
    v = to_float64(inputs(case)[2])
    if case.norm:
        plain = dataclasses.replace(case, norm=False)
        h = expected(plain)[0]
        *arrays, reset, lengths = inputs(case)
        with jax.enable_x64(True):
            dh, *others = to_float64(cotangents(case, which))
            weights = (jnp.asarray(dh / np.sqrt(h.var(axis=-1, keepdims=True) + NORM_EPS)), *map(jnp.asarray, others))
            arrays = jax.tree.map(lambda a: jnp.asarray(a, np.float64), arrays)
            gradients = run(plain, "recurrent", which, (*arrays, reset, lengths), weights)[1]
        sizes = {name: float(np.linalg.norm(gradient)) for name, gradient in gradients.items()}
    floor = CANCELLED[case.dtype] * float(np.linalg.norm(np.sum(v * gradients["v"], axis=-1)))
    return sizes | {name: max(sizes[name], floor) for name in ("q", "k", "i", "f", "state m") if name in sizes}


def main() -> None:
    """Prints a markdown table for each implementation and dtype, with ordinary and strong gates separate."""
    scan.UNROLL = 1
    worst = {}
    for case in CASES:
        for implementation in IMPLEMENTATIONS:
            row = worst.setdefault((implementation, case.dtype, "strong" if case.strong else "ordinary"), {})
            for entry in measured(case, implementation):
                row[entry.part] = max(row.get(entry.part, 0.0), entry.error)
                row["ratio"] = max(row.get("ratio", 0.0), entry.error / entry.allowed)
    print("| implementation | dtype | gates | worst output error | worst gradient error | worst error / limit |")
    print("|---|---|---|---|---|---|")
    for key in sorted(worst, key=lambda key: (list(IMPLEMENTATIONS).index(key[0]), key[1:])):
        row = worst[key]
        print(f"| {' | '.join(key)} | {row['output']:.1e} | {row['gradient']:.1e} | {row['ratio']:.2f} |")


if __name__ == "__main__":
    main()
