"""Chunks at once: their states by an associative scan, everything else batched over them.

A chunk acts on the state before it as S -> w S + U, where w is its decay and U what it writes from an empty state, in
the scale of the stabiliser m after it. The stabilisers come first, from m -> max(m + F, m_own), F the chunk's sum of
log f; with them known, the states are a linear recurrence (`ops.recurrence.associative.linear_scan`).

All of a sequence's states at once would take many times the chunkwise form's memory: beyond GROUP chunks, groups of as
many follow one another.
"""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import log_decay, next_stabiliser
from xlstm_jax.cells.mlstm import MLSTMState, stabiliser_gradient
from xlstm_jax.ops.mlstm.chunk import Chunk, Options, chunked, outputs, written
from xlstm_jax.ops.mlstm.chunkwise import piecewise
from xlstm_jax.ops.recurrence.associative import linear_scan

# So many states are in memory together.
CHUNK = 64
GROUP = 8


def associative(q, k, v, log_i, log_f, state, reset, *, chunk_size, **options):
    """h [B,T,H,V] and the final state, from chunks of `chunk_size` steps, GROUP chunks at a time."""
    time = q.shape[1]
    length = min(chunk_size or CHUNK, time)
    chunks = -(-time // length)
    # As even as can be, so that little is padded.
    group = -(-chunks // -(-chunks // GROUP))
    run = functools.partial(_at_once, length=length, options=Options(**options))
    return piecewise(run, (q, k, v, log_i, log_f, reset), state, group * length)


def _at_once(state: MLSTMState, inputs, length: int, options: Options):
    """The state after some chunks of `length` steps, and their h [B,T,H,V]."""
    batch, values = inputs[0].shape[0], inputs[2].shape[2:]

    def unchunked(a):
        """[N B, ...] -> [N, B, ...]"""
        return a.reshape(-1, batch, *a.shape[1:])

    flat = Chunk.of(jax.tree.map(lambda a: chunked(a, length), inputs), state.C.dtype)
    own, F_NBH, fresh_NBH = jax.tree.map(unchunked, written(flat, options))
    after_m = stabilisers(state.m, own.m, F_NBH, fresh_NBH, options.eps) if options.stabilise else own.m
    before_m = states_before(state.m, after_m)
    # Minus infinity inside the exponential: outside it, an overflow would reach the gradient.
    decay_NBH = jnp.exp(jnp.where(fresh_NBH, log_decay(F_NBH, before_m, after_m), -jnp.inf))
    scale_NBH = jnp.exp(own.m - after_m)
    n = linear_scan(decay_NBH, scale_NBH[..., None] * own.n, state.n)
    C = linear_scan(decay_NBH, scale_NBH[..., None, None] * own.C, state.C)
    before = MLSTMState(C=states_before(state.C, C), n=states_before(state.n, n), m=before_m)
    before = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), before)
    h_NBLHV = unchunked(outputs(before, flat, options)[0])
    return MLSTMState(C=C[-1], n=n[-1], m=after_m[-1]), jnp.moveaxis(h_NBLHV, 0, 1).reshape(batch, -1, *values)


def stabilisers(m, own_NBH, F_NBH, fresh_NBH, eps):
    """m after each chunk: max(m + F, own), own alone where a reset is in between."""

    def combine(one, two):
        (F1, m1, fresh1), (F2, m2, fresh2) = one, two
        return F1 + F2, jnp.where(fresh2, jnp.maximum(m1 + F2, m2), m2), fresh1 & fresh2

    F, own, fresh = jax.lax.associative_scan(combine, (F_NBH, own_NBH, fresh_NBH))
    before = jnp.where(fresh, m[None], -jnp.inf)
    return stabiliser_gradient(next_stabiliser(F, before, own), eps)


def states_before(first, states_NB):
    """The state before each chunk."""
    return jnp.concatenate([first[None], states_NB[:-1]])
