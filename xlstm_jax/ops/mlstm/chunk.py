"""One chunk of an mLSTM: what its steps give each other, what they have from the state before, and the state after.

Unrolling `mlstm_step` from the state before a chunk gives, with b the running sum of log f inside the chunk,

    D_ts = b_t - b_s + log i_s  (s <= t)       a_t = b_t + m_0        m_t = max(max_s D_ts, a_t)
    S_ts = e^(D_ts - m_t) q_t.k_s / sqrt(K)    g_t = e^(a_t - m_t)
    h_t  = (S v + g_t q_t C_0 / sqrt(K)) / (max(|sum_s S_ts + g_t q_t.n_0 / sqrt(K)|, e^(-m_t)) + eps)

Beck et al. 2024 (arXiv 2405.04517), appendix A.3, with a state before and after.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.mlstm import MLSTMState, normalise, stabiliser_gradient

_einsum = functools.partial(jnp.einsum, precision="highest")


class Options(NamedTuple):
    """How a step is computed: `cells.mlstm.mlstm_step`."""

    stabilise: bool
    normalize: bool
    eps: float


class Chunk(NamedTuple):
    """One chunk, heads before steps, with its decays."""

    q: jax.Array  # [B, H, L, K]
    k: jax.Array  # [B, H, L, K]
    v: jax.Array  # [B, H, L, V]
    log_i: jax.Array  # [B, H, L]
    coarse: jax.Array  # [B, H, L] b = coarse + fine
    fine: jax.Array  # [B, H, L]
    mask: jax.Array  # [.., .., L, L] true where step t sees step s
    decay: jax.Array  # [B, H, L] sum of log f from the chunk's start, or from the last reset on
    fresh: jax.Array  # [.., .., L] no reset so far, so the state before the chunk is still seen

    @classmethod
    def of(cls, inputs, dtype) -> "Chunk":
        """From (q, k, v, log i, log f, reset), [B, L, ...]."""
        q, k, v, log_i, log_f = (jnp.swapaxes(a, 1, 2) for a in inputs[:5])
        return cls(q, k, v, log_i.astype(dtype), *decays(log_f.astype(dtype), inputs[5]))


def chunked(a: jax.Array, length: int) -> jax.Array:
    """[B, N L, ...] -> [N B, L, ...]: every chunk of `length` steps a sequence of its own."""
    batch = a.shape[0]
    return jnp.moveaxis(a.reshape(batch, -1, length, *a.shape[2:]), 1, 0).reshape(-1, length, *a.shape[2:])


def advance(state: MLSTMState, inputs, options: Options):
    """The state after a chunk of (q, k, v, log i, log f, reset), [B, L, ...], and its h [B, L, H, V]."""
    chunk = Chunk.of(inputs, state.C.dtype)
    h, m, carried = outputs(state, chunk, options)
    # The last row's weights are those with which each step stands in the state after the chunk.
    k_weighted, carried = _last_weights(chunk, m) * chunk.k.astype(m.dtype), carried[..., -1, None]
    after = MLSTMState(
        C=carried[..., None] * state.C + _einsum("bhsk,bhsv->bhkv", k_weighted, chunk.v.astype(m.dtype)),
        n=carried * state.n + jnp.sum(k_weighted, axis=-2),
        m=m[..., -1],
    )
    return after, h


def outputs(state: MLSTMState, chunk: Chunk, options: Options):
    """h [B, L, H, V], m [B, H, L], and the factor e^(a - m) [B, H, L] of the state before the chunk in each step."""
    q, k, v, log_i, coarse, fine, mask, decay, fresh = chunk
    # After a reset m starts again from 0.
    from_state = decay + jnp.where(fresh, state.m[..., None], 0)
    m = jnp.zeros_like(from_state)
    if options.stabilise:
        D_BHLL = exponent(coarse, m, fine, log_i - fine, mask)
        m = stabiliser_gradient(jnp.maximum(jnp.max(D_BHLL, axis=-1), from_state), options.eps)
    carried_BHL = jnp.where(fresh, jnp.exp(from_state - m), 0)

    numerator, nq = intra(q, k, v, fine, log_i - fine, m, coarse, mask)
    # q is scaled where its products are summed: scaled in bfloat16 it would be rounded, which n.q near 0 enlarges.
    scale, q_state = q.shape[-1] ** -0.5, q.astype(m.dtype)
    h_BHLV = scale * (numerator + carried_BHL[..., None] * _einsum("bhtk,bhkv->bhtv", q_state, state.C))
    if options.normalize:
        nq = scale * (nq + carried_BHL * _einsum("bhtk,bhk->bht", q_state, state.n))
        h_BHLV = normalise(h_BHLV, nq, m, options.eps)
    return jnp.swapaxes(h_BHLV, 1, 2), m, carried_BHL


def written(chunk: Chunk, options: Options):
    """What a chunk makes of an empty state, its sum of log f [B, H], and whether the state before gets through [B, H].

    The first's m is minus infinity where nothing is written.
    """
    own_m = jnp.zeros(chunk.decay.shape[:2], chunk.decay.dtype)
    if options.stabilise:
        last = exponent(chunk.coarse, jnp.zeros_like(chunk.decay), chunk.fine, chunk.log_i - chunk.fine, chunk.mask)
        restarted = jnp.where(chunk.fresh[..., -1], -jnp.inf, chunk.decay[..., -1])
        own_m = stabiliser_gradient(jnp.maximum(jnp.max(last[..., -1, :], axis=-1), restarted), options.eps)
    finite_m = jnp.where(own_m == -jnp.inf, jnp.zeros_like(own_m), own_m)
    k_weighted = _last_weights(chunk, finite_m[..., None]) * chunk.k.astype(own_m.dtype)
    C = _einsum("bhsk,bhsv->bhkv", k_weighted, chunk.v.astype(own_m.dtype))
    own = MLSTMState(C=C, n=jnp.sum(k_weighted, axis=-2), m=own_m)
    return own, chunk.decay[..., -1], jnp.broadcast_to(chunk.fresh[..., -1], own_m.shape)


def _last_weights(chunk: Chunk, m: jax.Array) -> jax.Array:
    """e^(D - m) of the last row, [B, H, L, 1]; of m [.., L] the last entry."""
    last = slice(-1, None)
    D = exponent(chunk.coarse, m[..., last], chunk.fine, chunk.log_i - chunk.fine, chunk.mask, rows=last)
    return jnp.exp(D)[..., 0, :, None]


def decays(log_f, reset):
    """b as a coarse and a fine part [B,H,L], the mask of what a step sees [..,L,L], the decay from the chunk's start or
    the last reset to each step [B,H,L], and `fresh`.

    The parts are sums of `split_decays`, so that b_t - b_s loses no digits where a strong gate comes before weak ones.
    """
    length = log_f.shape[-1]
    steps, rest = split_decays(log_f)
    coarse, fine = jnp.cumsum(steps, axis=-1), jnp.cumsum(rest, axis=-1)
    mask = jnp.tril(jnp.ones((1, 1, length, length), bool))
    fresh = jnp.ones((1, 1, length), bool)
    decay = coarse + fine
    if reset is not None:
        segment = jnp.cumsum(reset, axis=-1, dtype=jnp.int32)[:, None, :]
        mask = mask & (segment[..., :, None] == segment[..., None, :])
        fresh = segment == 0
        # Sums inside segments, so that no gradient passes a reset, not even a rounding error.
        fine = jnp.sum(jnp.where(mask, rest[..., None, :], 0), axis=-1)
        decay = jnp.sum(jnp.where(mask, steps[..., None, :], 0), axis=-1) + fine
    return coarse, fine, mask, decay, fresh


def split_decays(log_f):
    """log f as a multiple of 1/128 and a small rest: sums of the first are exact in float32 while under 2^17."""
    steps = jax.lax.stop_gradient(jnp.round(log_f * 128) / 128)
    return steps, log_f - steps


def exponent(coarse, m, row, column, mask, rows=slice(None)):
    """D_ts - m_t = (coarse_t - coarse_s - m_t) + (row_t + column_s), large terms first; -inf where t does not see s.

    For some rows t alone, of which m then is.
    """
    large = coarse[..., rows, None] - coarse[..., None, :] - m[..., None]
    return jnp.where(mask[..., rows, :], large + (row[..., rows, None] + column[..., None, :]), -jnp.inf)


def _scores(q, k, row, column, m, coarse, mask):
    """The weights e^(D - m), and S: those times q.k."""
    weight = jnp.exp(exponent(coarse, m, row, column, mask))
    return weight, weight * _einsum("bhtk,bhsk->bhts", q, k, preferred_element_type=m.dtype)


@custom_vjp("a chunk of the mLSTM's core", instead="implementation='recurrent'")
def intra(q, k, v, row, column, m, coarse, mask):
    """What the steps of a chunk give each other: S v [B,H,L,V] and the row sums of S [B,H,L].

    The backward pass computes S again, so that no L x L array is kept. The gradients of the decays are row and column
    sums of S dS; the equal sums of q dq and k dk would cost less, but are rounded apart, and the forget gate's gradient
    is a sum of their differences (measured: 10 times its error).
    """
    return _intra_forward(q, k, v, row, column, m, coarse, mask)[0]


def _intra_forward(q, k, v, row, column, m, coarse, mask):
    _, scores = _scores(q, k, row, column, m, coarse, mask)
    numerator = _einsum("bhts,bhsv->bhtv", scores.astype(v.dtype), v, preferred_element_type=m.dtype)
    return (numerator, jnp.sum(scores, axis=-1)), (q, k, v, row, column, m, coarse, mask)


def _intra_backward(residuals, cotangents):
    q, k, v, row, column, m, coarse, mask = residuals
    dnumerator, dsum = cotangents
    dot = functools.partial(_einsum, preferred_element_type=m.dtype)
    weight, scores = _scores(q, k, row, column, m, coarse, mask)
    narrow = dnumerator.astype(v.dtype)
    dscores = dot("bhtv,bhsv->bhts", narrow, v) + dsum[..., None]
    dv = dot("bhts,bhtv->bhsv", scores.astype(v.dtype), narrow)
    dqk = (dscores * weight).astype(q.dtype)
    dq, dk = dot("bhts,bhsk->bhtk", dqk, k), dot("bhts,bhtk->bhsk", dqk, q)
    products = dscores * scores
    drow, dcolumn = jnp.sum(products, axis=-1), jnp.sum(products, axis=-2)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), drow, dcolumn, -drow, None, None


intra.defvjp(_intra_forward, _intra_backward)
