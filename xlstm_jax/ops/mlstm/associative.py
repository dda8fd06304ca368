"""The mLSTM over several chunks at once: states by an associative scan, everything else batched over chunks.

A chunk maps the state before it as S -> w S + U, with w its decay and U the state it produces from an empty one, both
in the scale of the stabiliser m after the chunk. The stabilisers are computed first, from m -> max(m + F, m_own), where
F is the chunk's sum of log f. Given them, the states follow a linear recurrence
(`ops.recurrence.associative.linear_scan`).

Computing all states of a long sequence at once would take many times the memory of the chunkwise form, so groups of at
most GROUP chunks run one after another.
"""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import log_decay, next_stabiliser
from xlstm_jax.cells.mlstm import MLSTMState, stabiliser_gradient
from xlstm_jax.ops.mlstm.chunk import Chunk, Options, chunked, outputs, written
from xlstm_jax.ops.mlstm.chunkwise import piecewise
from xlstm_jax.ops.recurrence.associative import linear_scan

CHUNK = 64  # default steps per chunk
GROUP = 8  # most chunks whose states are in memory at once


def associative(q, k, v, log_i, log_f, state, reset, *, chunk_size, **options):
    """h [B,T,H,V] and the final state, from chunks of `chunk_size` steps, at most GROUP chunks at a time."""
    time = q.shape[1]
    length = min(chunk_size or CHUNK, time)
    chunks = -(-time // length)
    # Groups of equal size need the least padding.
    group = -(-chunks // -(-chunks // GROUP))
    run = functools.partial(_at_once, length=length, options=Options(**options))
    return piecewise(run, (q, k, v, log_i, log_f, reset), state, group * length)


def _at_once(state: MLSTMState, inputs, length: int, options: Options):
    """The state after one group of chunks of `length` steps, and their h [B,T,H,V]."""
    batch, values = inputs[0].shape[0], inputs[2].shape[2:]

    def unchunked(a):
        """[N B, ...] -> [N, B, ...]"""
        return a.reshape(-1, batch, *a.shape[1:])

    flat = Chunk.of(jax.tree.map(lambda a: chunked(a, length), inputs), state.C.dtype)
    own, F_NBH, fresh_NBH = jax.tree.map(unchunked, written(flat, options))
    after_m = stabilisers(state.m, own.m, F_NBH, fresh_NBH, options.eps) if options.stabilise else own.m
    before_m = states_before(state.m, after_m)
    # Mask inside the exponential: masked outside it, an overflow would reach the gradient.
    decay_NBH = jnp.exp(jnp.where(fresh_NBH, log_decay(F_NBH, before_m, after_m), -jnp.inf))
    scale_NBH = jnp.exp(own.m - after_m)
    n = linear_scan(decay_NBH, scale_NBH[..., None] * own.n, state.n)
    C = linear_scan(decay_NBH, scale_NBH[..., None, None] * own.C, state.C)
    before = MLSTMState(C=states_before(state.C, C), n=states_before(state.n, n), m=before_m)
    before = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), before)
    h_NBLHV = unchunked(outputs(before, flat, options)[0])
    return MLSTMState(C=C[-1], n=n[-1], m=after_m[-1]), jnp.moveaxis(h_NBLHV, 0, 1).reshape(batch, -1, *values)


def stabilisers(m, own_NBH, F_NBH, fresh_NBH, eps):
    """m after each chunk: max(m + F, own), or just own if a reset is in between."""

    def combine(one, two):
        (F1, m1, fresh1), (F2, m2, fresh2) = one, two
        return F1 + F2, jnp.where(fresh2, jnp.maximum(m1 + F2, m2), m2), fresh1 & fresh2

    F, own, fresh = jax.lax.associative_scan(combine, (F_NBH, own_NBH, fresh_NBH))
    before = jnp.where(fresh, m[None], -jnp.inf)
    return stabiliser_gradient(next_stabiliser(F, before, own), eps)


def states_before(first, states_NB):
    """The state before each chunk."""
    return jnp.concatenate([first[None], states_NB[:-1]])
