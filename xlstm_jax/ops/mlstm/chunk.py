"""One chunk of an mLSTM: outputs from steps inside the chunk and from the state before it, and the state after it.

Unrolling `mlstm_step` from the state before a chunk yields, with b the running sum of log f inside the chunk,

    D_ts = b_t - b_s + log i_s  (s <= t)       a_t = b_t + m_0        m_t = max(max_s D_ts, a_t)
    S_ts = e^(D_ts - m_t) q_t.k_s / sqrt(K)    g_t = e^(a_t - m_t)
    h_t  = (S v + g_t q_t C_0 / sqrt(K)) / (max(|sum_s S_ts + g_t q_t.n_0 / sqrt(K)|, e^(-m_t)) + eps)

Beck et al. 2024 (arXiv 2405.04517), appendix A.3, extended by a state before and after the chunk.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.gates import exp_and_rest, log_decay, next_stabiliser
from xlstm_jax.cells.mlstm import MLSTMState, normalized, stabiliser_gradient
from xlstm_jax.ops.mlstm.decays import Parts, decays, exponent

_einsum = functools.partial(jnp.einsum, precision="highest")


class Options(NamedTuple):
    """Options of `cells.mlstm.mlstm_step`."""

    stabilise: bool
    normalize: bool
    eps: float


class Chunk(NamedTuple):
    """One chunk with its decays, laid out with heads before steps."""

    q: jax.Array  # [B, H, L, K]
    k: jax.Array  # [B, H, L, K]
    v: jax.Array  # [B, H, L, V]
    b: Parts  # [B, H, L]
    source: Parts  # [B, H, L] log i - b
    mask: jax.Array  # [.., .., L, L] true if step t sees step s
    decay: jax.Array  # [B, H, L] sum of log f since the chunk's start or the last reset
    fresh: jax.Array  # [.., .., L] true if no reset came so far, so the state before the chunk is still visible

    @classmethod
    def of(cls, inputs, dtype) -> "Chunk":
        """From (q, k, v, log i, log f, reset), [B, L, ...]."""
        q, k, v, log_i, log_f = (jnp.swapaxes(a, 1, 2) for a in inputs[:5])
        b, *rest = decays(log_f.astype(dtype), inputs[5])
        return cls(q, k, v, b, b.source(log_i.astype(dtype)), *rest)


def chunked(a: jax.Array, length: int) -> jax.Array:
    """[B, N L, ...] -> [N B, L, ...]: makes each chunk of `length` steps a separate sequence."""
    batch = a.shape[0]
    return jnp.moveaxis(a.reshape(batch, -1, length, *a.shape[2:]), 1, 0).reshape(-1, length, *a.shape[2:])


def advance(state: MLSTMState, inputs, options: Options):
    """The state after a chunk of (q, k, v, log i, log f, reset), [B, L, ...], and its h [B, L, H, V]."""
    chunk = Chunk.of(inputs, state.C.dtype)
    h, m, (carried, rest) = outputs(state, chunk, options)
    # The last row's weights are the weights of each step in the state after the chunk.
    k_weighted = _last_weights(chunk, m) * chunk.k.astype(m.dtype)
    carried, rest = carried[..., -1, None], rest[..., -1, None]
    C = _einsum("bhsk,bhsv->bhkv", k_weighted, chunk.v.astype(m.dtype))
    after = MLSTMState(
        C=carried[..., None] * state.C + (rest[..., None] * state.C + C),
        n=carried * state.n + (rest * state.n + jnp.sum(k_weighted, axis=-2)),
        m=m[..., -1],
    )
    return after, h


def outputs(state: MLSTMState, chunk: Chunk, options: Options):
    """h [B, L, H, V], m [B, H, L], and the factor e^(a - m) [B, H, L] by which each step sees the state before the
    chunk, with its rounding error (`exp_and_rest`)."""
    q, k, v, b, source, mask, decay, fresh = chunk
    # After a reset m starts again from 0.
    before = jnp.where(fresh, state.m[..., None], 0)
    m = jnp.zeros_like(decay)
    if options.stabilise:
        D_BHLL = exponent(b, source, mask)
        m = stabiliser_gradient(next_stabiliser(decay, before, jnp.max(D_BHLL, axis=-1)), options.eps)
    carried_BHL, rest_BHL = exp_and_rest(jnp.where(fresh, log_decay(decay, before, m), -jnp.inf))

    numerator, nq = intra(q, k, v, b.minus(Parts.of(m)), source, mask)
    # Scale the sums instead of q: a bfloat16 q would be rounded, and n.q near 0 amplifies the error.
    scale, q_state = q.shape[-1] ** -0.5, q.astype(m.dtype)
    h_BHLV = scale * (numerator + carried_BHL[..., None] * _einsum("bhtk,bhkv->bhtv", q_state, state.C))
    if options.normalize:
        nq = scale * (nq + carried_BHL * _einsum("bhtk,bhk->bht", q_state, state.n))
        h_BHLV = normalized(h_BHLV, nq, m, options.eps)
    return jnp.swapaxes(h_BHLV, 1, 2), m, (carried_BHL, rest_BHL)


def written(chunk: Chunk, options: Options):
    """The state a chunk produces from an empty one, its sum of log f [B, H], and whether it has no reset [B, H].

    That state's m is minus infinity if the chunk writes nothing.
    """
    own_m = jnp.zeros(chunk.decay.shape[:2], chunk.decay.dtype)
    if options.stabilise:
        last = exponent(chunk.b.map(_last), chunk.source, chunk.mask[..., -1:, :])[..., 0, :]
        restarted = jnp.where(chunk.fresh[..., -1], -jnp.inf, chunk.decay[..., -1])
        own_m = stabiliser_gradient(jnp.maximum(jnp.max(last, axis=-1), restarted), options.eps)
    finite_m = jnp.where(own_m == -jnp.inf, jnp.zeros_like(own_m), own_m)
    k_weighted = _last_weights(chunk, finite_m[..., None]) * chunk.k.astype(own_m.dtype)
    C = _einsum("bhsk,bhsv->bhkv", k_weighted, chunk.v.astype(own_m.dtype))
    own = MLSTMState(C=C, n=jnp.sum(k_weighted, axis=-2), m=own_m)
    return own, chunk.decay[..., -1], jnp.broadcast_to(chunk.fresh[..., -1], own_m.shape)


def _last_weights(chunk: Chunk, m: jax.Array) -> jax.Array:
    """e^(D - m) of the last row, [B, H, L, 1]; uses the last entry of m [.., L]."""
    of_t = chunk.b.map(_last).minus(Parts.of(_last(m)))
    return jnp.exp(exponent(of_t, chunk.source, chunk.mask[..., -1:, :]))[..., 0, :, None]


def _last(a: jax.Array) -> jax.Array:
    return a[..., -1:]


def _scores(q, k, of_t: Parts, of_s: Parts, mask):
    """The weights e^(D - m), and S, the weights times q.k."""
    weight = jnp.exp(exponent(of_t, of_s, mask))
    return weight, weight * _einsum("bhtk,bhsk->bhts", q, k, preferred_element_type=weight.dtype)


@custom_vjp("a chunk of the mLSTM's core", instead="implementation='recurrent'")
def intra(q, k, v, of_t: Parts, of_s: Parts, mask):
    """Contributions from steps inside the chunk: S v [B,H,L,V] and the row sums of S [B,H,L].

    `of_t`, `of_s` and `mask` are those of `exponent`. The backward pass recomputes S, so no L x L array is stored. The
    gradients of the decays are row and column sums of S dS. The sums of q dq and k dk are the same numbers in exact
    arithmetic and cheaper, but they round differently, and the forget gate's gradient sums their differences (measured:
    10 times the error).
    """
    return _intra_forward(q, k, v, of_t, of_s, mask)[0]


def _intra_forward(q, k, v, of_t, of_s, mask):
    _, scores = _scores(q, k, of_t, of_s, mask)
    numerator = _einsum("bhts,bhsv->bhtv", scores.astype(v.dtype), v, preferred_element_type=scores.dtype)
    return (numerator, jnp.sum(scores, axis=-1)), (q, k, v, of_t, of_s, mask)


def _intra_backward(residuals, cotangents):
    q, k, v, of_t, of_s, mask = residuals
    dnumerator, dsum = cotangents
    dot = functools.partial(_einsum, preferred_element_type=dsum.dtype)
    weight, scores = _scores(q, k, of_t, of_s, mask)
    narrow = dnumerator.astype(v.dtype)
    dscores = dot("bhtv,bhsv->bhts", narrow, v) + dsum[..., None]
    dv = dot("bhts,bhtv->bhsv", scores.astype(v.dtype), narrow)
    dqk = (dscores * weight).astype(q.dtype)
    dq, dk = dot("bhts,bhsk->bhtk", dqk, k), dot("bhts,bhtk->bhsk", dqk, q)
    products = dscores * scores
    drow, dcolumn = jnp.sum(products, axis=-1), jnp.sum(products, axis=-2)
    of_t, of_s = Parts(None, None, drow), Parts(None, None, dcolumn)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), of_t, of_s, None


intra.defvjp(_intra_forward, _intra_backward)
