"""The mLSTM's gates over chunks, in XLA: O(T) numbers, so that the kernels hold products and no running sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.mlstm import stabiliser_gradient
from xlstm_jax.ops.mlstm.associative import stabilisers, states_before
from xlstm_jax.ops.mlstm.chunk import Options, chunked, decays, exponent


class Exponents(NamedTuple):
    """What D_ts - m_t is made of inside a chunk: (coarse_t - coarse_s - m_t) + (row_t + column_s); each [B, H, T].

    coarse + row is the running sum of log f from the chunk's start; differences of its coarse part are exact.
    """

    row: jax.Array
    column: jax.Array  # log i - row
    m: jax.Array
    coarse: jax.Array
    segment: jax.Array | None  # [B, T] int32: step t sees step s where these are equal; None: no resets


class Factors(NamedTuple):
    """How much of the state before a chunk, or of a step, stands in what comes after."""

    before: jax.Array  # [B, H, T] of the state before the chunk in step t: e^(a_t - m_t), 0 behind a reset
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
    coarse, row, mask, decay, fresh = decays(log_f, reset)
    column, last = log_i - row, slice(-1, None)
    fresh = jnp.broadcast_to(fresh, decay.shape)

    after_m, own = jnp.zeros((chunks, batch, heads), decay.dtype), None
    if options.stabilise:
        # XLA fuses the maximum with what it is of: no [L, L] array stands in memory.
        own = stabiliser_gradient(jnp.max(exponent(coarse, jnp.zeros_like(decay), row, column, mask), -1), options.eps)
        restarted = jnp.where(fresh, -jnp.inf, decay)
        ends = (a[..., -1].reshape(chunks, batch, heads) for a in (jnp.maximum(own, restarted), decay, fresh))
        after_m = stabilisers(m_BH, *ends, options.eps)
    before_m = states_before(m_BH, after_m).reshape(-1, heads, 1)
    from_state = decay + jnp.where(fresh, before_m, 0)
    m = stabiliser_gradient(jnp.maximum(own, from_state), options.eps) if options.stabilise else jnp.zeros_like(decay)
    after = after_m.reshape(-1, heads, 1)
    chunk = jnp.exp(jnp.where(fresh[..., last], from_state[..., last] - after, -jnp.inf))
    factors = Factors(
        before=whole(jnp.exp(jnp.where(fresh, from_state - m, -jnp.inf))),
        last=whole(jnp.exp(exponent(coarse, after, row, column, mask, rows=last))[..., 0, :]),
        chunk=jnp.moveaxis(chunk.reshape(chunks, batch, heads), 0, -1),
    )
    segment = None if reset_BT is None else jnp.cumsum(reset_BT, axis=-1, dtype=jnp.int32)
    return Exponents(*map(whole, (row, column, m, coarse)), segment), factors, after_m[-1]
