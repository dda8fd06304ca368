"""All chunks at once: their states by an associative scan, everything else batched over them.

A chunk acts on the state before it as S -> w S + U, where w is its decay and U what it writes from an empty state, in
the scale of the stabiliser m after it. The stabilisers come first, from m -> max(m + F, m_own), F the chunk's sum of
log f; with them known, the states are a linear recurrence (`ops.recurrence.associative.linear_scan`).
"""

import jax
import jax.numpy as jnp

from xlstm_jax.cells.mlstm import MLSTMState
from xlstm_jax.ops.mlstm.chunkwise import Chunk, joined, no_constant, outputs, split, written
from xlstm_jax.ops.recurrence.associative import linear_scan

# Larger than the scan's: a state a chunk stands in memory, all at once.
CHUNK = 128


def associative(q, k, v, log_i, log_f, state, reset, *, chunk_size, stabilise, normalize, eps):
    """h [B,T,H,V] and the final state; `chunk_size` steps a chunk, of which all states are in memory together."""
    batch, time = q.shape[:2]
    state = no_constant(state, k, v)
    length = min(chunk_size or CHUNK, time)
    inputs = split((q, k, v, log_i, log_f), reset, length)
    chunks = inputs[0].shape[0]

    def flattened(a):
        return a.reshape(chunks * batch, *a.shape[2:])

    flat = Chunk.of(jax.tree.map(flattened, inputs), state.C.dtype)
    own, F_NBH, fresh_NBH = written(flat, stabilise=stabilise, eps=eps)
    own, F_NBH, fresh_NBH = jax.tree.map(lambda a: a.reshape(chunks, batch, *a.shape[1:]), (own, F_NBH, fresh_NBH))

    after_m = _stabilisers(state.m, own.m, F_NBH, fresh_NBH) if stabilise else own.m
    before_m = _before(state.m, after_m)
    # Minus infinity inside the exponential: outside it, an overflow would reach the gradient.
    decay_NBH = jnp.exp(jnp.where(fresh_NBH, F_NBH + before_m - after_m, -jnp.inf))
    scale_NBH = jnp.exp(own.m - after_m)
    n = linear_scan(decay_NBH, scale_NBH[..., None] * own.n, state.n)
    C = linear_scan(decay_NBH, scale_NBH[..., None, None] * own.C, state.C)
    before = MLSTMState(C=_before(state.C, C), n=_before(state.n, n), m=before_m)
    h_MLHV = outputs(jax.tree.map(flattened, before), flat, stabilise=stabilise, normalize=normalize, eps=eps)[0]
    h = joined(h_MLHV.reshape(chunks, batch, *h_MLHV.shape[1:]), time)
    return h, MLSTMState(C=C[-1], n=n[-1], m=after_m[-1])


def _stabilisers(m, own_NBH, F_NBH, fresh_NBH):
    """m after each chunk: max(m + F, own), own alone where a reset stands in between."""

    def combine(one, two):
        (F1, m1, fresh1), (F2, m2, fresh2) = one, two
        return F1 + F2, jnp.where(fresh2, jnp.maximum(m1 + F2, m2), m2), fresh1 & fresh2

    F, own, fresh = jax.lax.associative_scan(combine, (F_NBH, own_NBH, fresh_NBH))
    return jnp.where(fresh, jnp.maximum(m[None] + F, own), own)


def _before(first, states_NB):
    """The state before each chunk."""
    return jnp.concatenate([first[None], states_NB[:-1]])
