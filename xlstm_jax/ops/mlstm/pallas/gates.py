"""The mLSTM's gates over chunks, computed in XLA: O(T) numbers, so the kernels need no running sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import log_decay, next_stabiliser
from xlstm_jax.cells.mlstm import stabiliser_gradient
from xlstm_jax.ops.mlstm.associative import stabilisers, states_before
from xlstm_jax.ops.mlstm.chunk import Options, chunked
from xlstm_jax.ops.mlstm.decays import Parts, decays, exponent


class Exponents(NamedTuple):
    """The terms of D_ts - m_t in a chunk, as in `decays.exponent`; b starts at the chunk's start. Each [B, H, T]."""

    of_t: Parts  # b - m
    of_s: Parts  # log i - b
    m: jax.Array
    segment: jax.Array | None  # [B, T] int32: step t sees step s only if these are equal; None without resets


class Factors(NamedTuple):
    """Weights of the state before a chunk, or of a step, in what comes after."""

    before: jax.Array  # [B, H, T] of the state before the chunk in step t: e^(a_t - m_t), 0 after a reset
    last: jax.Array  # [B, H, T] of step s in the state after the chunk: e^(D_Ls - m_L)
    chunk: jax.Array  # [B, H, N] of the state before the chunk in the state after it


def gates(log_i_BTH, log_f_BTH, m_BH, reset_BT, length: int, options: Options):
    """(Exponents, Factors, final m [B, H]) for chunks of `length` steps, which divides T."""
    batch, time, heads = log_i_BTH.shape
    chunks = time // length

    def whole(a_MHL):
        """[N B, H, L] -> [B, H, N L]"""
        return jnp.transpose(a_MHL.reshape(chunks, batch, heads, length), (1, 2, 0, 3)).reshape(batch, heads, time)

    log_i, log_f = (jnp.swapaxes(chunked(a, length), 1, 2) for a in (log_i_BTH, log_f_BTH))
    reset = None if reset_BT is None else chunked(reset_BT, length)
    b, mask, decay, fresh = decays(log_f, reset)
    source, last = b.source(log_i), slice(-1, None)
    fresh = jnp.broadcast_to(fresh, decay.shape)

    after_m, own = jnp.zeros((chunks, batch, heads), decay.dtype), None
    if options.stabilise:
        # XLA fuses the maximum with its argument: no [L, L] array is in memory.
        own = stabiliser_gradient(jnp.max(exponent(b, source, mask), -1), options.eps)
        restarted = jnp.where(fresh, -jnp.inf, decay)
        ends = (a[..., -1].reshape(chunks, batch, heads) for a in (jnp.maximum(own, restarted), decay, fresh))
        after_m = stabilisers(m_BH, *ends, options.eps)
    before_m = jnp.where(fresh, states_before(m_BH, after_m).reshape(-1, heads, 1), 0)
    m = jnp.zeros_like(decay)
    if options.stabilise:
        m = stabiliser_gradient(next_stabiliser(decay, before_m, own), options.eps)
    after = after_m.reshape(-1, heads, 1)
    chunk = log_decay(decay[..., last], before_m[..., last], after)
    of_last = b.map(lambda part: part[..., last]).minus(Parts.of(after))
    factors = Factors(
        before=whole(jnp.exp(jnp.where(fresh, log_decay(decay, before_m, m), -jnp.inf))),
        last=whole(jnp.exp(exponent(of_last, source, mask[..., last, :]))[..., 0, :]),
        chunk=jnp.moveaxis(jnp.exp(jnp.where(fresh[..., last], chunk, -jnp.inf)).reshape(chunks, batch, heads), 0, -1),
    )
    segment = None if reset_BT is None else jnp.cumsum(reset_BT, axis=-1, dtype=jnp.int32)
    return Exponents(b.minus(Parts.of(m)).map(whole), source.map(whole), whole(m), segment), factors, after_m[-1]
