"""RWKV-6's recurrence: a matrix memory with a data-dependent decay for each key feature."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells.gates import exp_and_rest, shut
from xlstm_jax.checks import checked, is_empty
from xlstm_jax.shapes import is_known, padding_mask, state_dtype, zero_padding
from xlstm_jax.sharding import varying

# Steps per chunk, and per block inside a chunk.
CHUNK, BLOCK = 16, 4
_einsum = functools.partial(jnp.einsum, precision="highest")


def rwkv6(
    r_BTHK: jax.Array,
    k_BTHK: jax.Array,
    v_BTHV: jax.Array,
    log_w_BTHK: jax.Array,
    u_HK: jax.Array,
    *,
    state: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """S_t = diag(w_t) S_{t-1} + k_t v_t^T, o_t = (S_{t-1} + diag(u) k_t v_t^T)^T r_t, computed chunk by chunk.

    Peng et al. 2024 (arXiv 2404.05892), equations 19 and 20. Inside a chunk, let b_ts be the sum of log w over the
    steps strictly between s and t, and b_t the sum over the chunk's steps before t:

        o_t = sum_{s<t} (sum_K r_t e^(b_ts) k_s) v_s + (r_t u k_t) v_t + (r_t e^(b_t))^T S

    Each b is summed directly, not as a difference of running sums, so it stays accurate at any decay, including
    log w = -inf, which forgets everything. Within a block of a chunk, e^(b_ts) is computed for each pair of steps.
    Across blocks it is e^(b from s to the block of t) e^(b from there to t), a matrix product (Yang et al. 2023, arXiv
    2312.06635, section 4.3: secondary chunking). Every exponent is at most 0.

    Args:
        r_BTHK, k_BTHK, v_BTHV: receptances (queries), keys, values.
        log_w_BTHK: log of the decay, at most 0; minus infinity forgets everything.
        u_HK: the bonus of the current step.
        state: initial S [B,H,K,V]; None is zero.
        reset_BT: true if the state becomes zero before that step; nothing earlier reaches that step or later ones.
        lengths_B: lengths under right padding. Padded steps leave the state unchanged and output zero.

    Returns:
        o [B, T, H, V] in v's dtype, and the final S [B, H, K, V], at least float32.

    Raises:
        UsageError: shapes that do not fit.
    """
    arrays = {"r_BTHK": r_BTHK, "k_BTHK": k_BTHK, "v_BTHV": v_BTHV, "log_w_BTHK": log_w_BTHK, "u_HK": u_HK}
    options = {"state_BHKV": state, "reset_BT": reset_BT, "lengths_B": lengths_B}
    r_BTHK, k_BTHK, v_BTHV, log_w_BTHK, u_HK, state, reset_BT, lengths_B = checked("rwkv6", **arrays, **options)
    (batch, time, heads, keys), values = r_BTHK.shape, v_BTHV.shape[-1]
    dtype = state_dtype(r_BTHK, k_BTHK, v_BTHV)
    start = jnp.zeros((batch, heads, keys, values), dtype) if state is None else state.astype(dtype)
    if is_empty(r_BTHK):
        return jnp.zeros_like(v_BTHV), start
    arrays = [zero_padding(a, lengths_B).astype(dtype) for a in (r_BTHK, k_BTHK, v_BTHV, log_w_BTHK)]
    arrays[3] = shut(arrays[3])
    reset = jnp.zeros((batch, time), bool) if reset_BT is None else reset_BT
    if lengths_B is not None:
        reset = reset & ~padding_mask(lengths_B, time)
    length = min(CHUNK, time if time < BLOCK else -(-time // BLOCK) * BLOCK) if is_known(time) else 1

    def chunked(a):
        """[B, T, ...] -> [N, L, B, ...], padded with steps that write and forget nothing."""
        a = jnp.pad(a, [(0, 0), (0, -time % length)] + [(0, 0)] * (a.ndim - 2))
        return jnp.moveaxis(a.reshape(batch, -1, length, *a.shape[2:]), 0, 2)

    start = varying(start, arrays, u_HK, reset)
    chunk = jax.checkpoint(functools.partial(_chunk, u_HK.astype(dtype)))
    end, o_NLBHV = jax.lax.scan(chunk, start, jax.tree.map(chunked, (*arrays, reset)))
    o_BTHV = jnp.moveaxis(o_NLBHV, 2, 0).reshape(batch, -1, heads, values)[:, :time]
    return zero_padding(o_BTHV, lengths_B).astype(v_BTHV.dtype), end


class _Decays(NamedTuple):
    """e^(sum of log w) over ranges of a chunk's steps, for each feature; 1 for an empty range.

    The decay of the whole chunk multiplies the state at every chunk, so it keeps its rounding error (`exp_and_rest`).
    """

    near: jax.Array  # [M, C, C, B, H, K] between s and t in each block of C steps: (block, t, s)
    column: jax.Array  # [M-1, L, B, H, K] from after s to the start of each block except the first
    row: jax.Array  # [L, B, H, K] from the start of t's block to before t
    before: jax.Array  # [L, B, H, K] all steps before t
    after: jax.Array  # [L, B, H, K] all steps after s
    whole: tuple[jax.Array, jax.Array]  # [B, H, K] the whole chunk

    @classmethod
    def of(cls, log_w_LBHK: jax.Array, block: int) -> "_Decays":
        length = log_w_LBHK.shape[0]
        step, starts = np.arange(length), np.arange(0, length, block)
        s, t = np.arange(block)[None, None, :], np.arange(block)[None, :, None]

        def decay(first, end):
            """Decay over the steps first ... end - 1, whose sum is a product with a matrix of zeros and ones."""
            first, end = np.broadcast_arrays(first, end)
            inside = (first[..., None] <= step) & (step < end[..., None])
            table = jnp.asarray(inside, log_w_LBHK.dtype)
            return jnp.exp(jnp.tensordot(table, log_w_LBHK, 1, precision="highest"))

        return cls(
            near=decay(starts[:, None, None] + s + 1, starts[:, None, None] + t),
            column=decay(step[None] + 1, starts[1:, None]),
            row=decay(step // block * block, step),
            before=decay(0, step),
            after=decay(step + 1, length),
            whole=exp_and_rest(jnp.sum(log_w_LBHK, axis=0)),
        )


def _chunk(u_HK, S, inputs):
    """One chunk: from r, k, v, log w [L, B, H, ...] and resets [L, B] to the next state and o [L, B, H, V]."""
    r, k, v, log_w, reset = inputs
    length = r.shape[0]
    decays = _Decays.of(log_w, min(BLOCK, length))
    segment_LB = jnp.cumsum(reset, axis=0, dtype=jnp.int32)
    step = np.arange(length)
    seen_BLL = (step[:, None] > step)[None] & (segment_LB.T[:, :, None] == segment_LB.T[:, None, :])
    scores = _scores(r, k, decays)
    scores = jnp.where(seen_BLL[:, None], scores, jnp.zeros_like(scores))
    bonus = _einsum("tbhk,hk,tbhk->tbh", r, u_HK, k)
    o = _einsum("bhts,sbhv->tbhv", scores, v) + bonus[..., None] * v
    fresh_LB, last_LB = segment_LB == 0, segment_LB == segment_LB[-1:]
    o = o + _einsum("tbhk,bhkv->tbhv", r * _where(fresh_LB, decays.before), S)
    kept, rest = (_where(fresh_LB[-1], part)[..., None] for part in decays.whole)
    return kept * S + (rest * S + _einsum("sbhk,sbhv->bhkv", k * _where(last_LB, decays.after), v)), o


def _where(flag, decay):
    """`decay` [..., H, K] if `flag` [...] is true, else 0."""
    return jnp.where(flag[..., None, None], decay, jnp.zeros_like(decay))


def _scores(r, k, decays: _Decays):
    """sum_K r_t e^(b_ts) k_s as [B, H, L, L] (t, s), from r, k [L, B, H, K]; valid for s < t, finite elsewhere."""
    blocks, block = decays.near.shape[:2]
    length, batch, heads, _ = r.shape

    def cut(a):
        return a.reshape(blocks, block, *a.shape[1:])

    near = _einsum("ntbhk,nsbhk,ntsbhk->bhnts", cut(r), cut(k), decays.near).reshape(batch, heads, length, block)
    if blocks == 1:
        return near
    far = _einsum("ntbhk,nsbhk->bhnts", cut(r * decays.row)[1:], k[None] * decays.column)
    far = jnp.pad(far.reshape(batch, heads, -1, length), ((0, 0), (0, 0), (block, 0), (0, 0)))
    number = np.arange(length) // block
    return jnp.where((number[:, None] == number)[None, None], jnp.tile(near, blocks), far)
