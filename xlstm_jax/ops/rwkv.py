"""RWKV-6's recurrence: a matrix memory that each key feature forgets at a rate of its own, taken from the data."""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import padding_mask, state_dtype, zero_padding
from xlstm_jax.sharding import varying

# Steps a chunk: its decays stand as [L, L, K] in memory, since a product of two factors would overflow.
CHUNK = 16


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
    """S_t = diag(w_t) S_{t-1} + k_t v_t^T, o_t = (S_{t-1} + diag(u) k_t v_t^T)^T r_t, chunk after chunk.

    Peng et al. 2024 (arXiv 2404.05892), equations 19 and 20. Inside a chunk, with b the running sum of log w,

        o_t = sum_{s<t} (sum_K r_t e^(b_{t-1} - b_s) k_s) v_s + (r_t u k_t) v_t + (r_t e^(b_{t-1}))^T S

    where every exponent is at most 0.

    Args:
        r_BTHK, k_BTHK, v_BTHV: receptances (queries), keys, values.
        log_w_BTHK: log of the decay, at most 0.
        u_HK: the bonus of the present step.
        state: S [B,H,K,V] to start from; None is zero.
        reset_BT: true where the state becomes zero before that step; nothing from before reaches that step or later.
        lengths_B: right padding; padded steps leave the state as it is and give zero output.

    Returns:
        o [B, T, H, V] in v's dtype, and the final S [B, H, K, V], float32 at least.

    Raises:
        UsageError: shapes that do not fit.
    """
    (batch, time, heads, keys), values = r_BTHK.shape, v_BTHV.shape[-1]
    shapes = (k_BTHK.shape, v_BTHV.shape[:3], log_w_BTHK.shape, u_HK.shape)
    if shapes != (r_BTHK.shape, r_BTHK.shape[:3], r_BTHK.shape, (heads, keys)) or time < 1:
        raise UsageError(
            f"rwkv6 got r {r_BTHK.shape}, k {k_BTHK.shape}, v {v_BTHV.shape}, log_w {log_w_BTHK.shape}, "
            f"u {u_HK.shape}; wanted r, k, log_w [B,T,H,K], v [B,T,H,V], u [H,K] with at least one step"
        )
    dtype = state_dtype(r_BTHK, k_BTHK, v_BTHV)
    arrays = [zero_padding(a, lengths_B).astype(dtype) for a in (r_BTHK, k_BTHK, v_BTHV, log_w_BTHK)]
    reset = jnp.zeros((batch, time), bool) if reset_BT is None else reset_BT
    if lengths_B is not None:
        reset = reset & ~padding_mask(lengths_B, time)
    length = min(CHUNK, time)

    def chunked(a):
        """[B, T, ...] -> [N, B, L, ...], padded by steps that write and forget nothing."""
        a = jnp.pad(a, [(0, 0), (0, -time % length)] + [(0, 0)] * (a.ndim - 2))
        return jnp.moveaxis(a.reshape(batch, -1, length, *a.shape[2:]), 1, 0)

    start = jnp.zeros((batch, heads, keys, values), dtype) if state is None else state.astype(dtype)
    start = varying(start, arrays, u_HK, reset)
    chunk = jax.checkpoint(functools.partial(_chunk, u_HK.astype(dtype)))
    end, o_NBLHV = jax.lax.scan(chunk, start, jax.tree.map(chunked, (*arrays, reset)))
    o_BTHV = jnp.moveaxis(o_NBLHV, 0, 1).reshape(batch, -1, heads, values)[:, :time]
    return zero_padding(o_BTHV, lengths_B).astype(v_BTHV.dtype), end


def _chunk(u_HK, S, inputs):
    """The state after a chunk, and its o [B, L, H, V]."""
    r, k, v, log_w, reset = inputs
    einsum = functools.partial(jnp.einsum, precision="highest")
    length = r.shape[1]
    after = jnp.cumsum(log_w, axis=1)  # b_t
    before = after - log_w  # b_{t-1}
    segment_BL = jnp.cumsum(reset, axis=1, dtype=jnp.int32)
    earlier = jnp.arange(length)[:, None] > jnp.arange(length)[None, :]
    seen_BLL = earlier[None] & (segment_BL[:, :, None] == segment_BL[:, None, :])
    decay = jnp.where(seen_BLL[..., None, None], before[:, :, None] - after[:, None], -jnp.inf)
    scores = einsum("bthk,bshk,btshk->btsh", r, k, jnp.exp(decay))
    bonus = einsum("bthk,hk,bthk->bth", r, u_HK, k)
    o = einsum("btsh,bshv->bthv", scores, v) + bonus[..., None] * v
    fresh_BL = segment_BL == 0
    from_state = jnp.exp(jnp.where(fresh_BL[..., None, None], before, -jnp.inf))
    o = o + einsum("bthk,bhkv->bthv", r * from_state, S)
    last_BL = segment_BL == segment_BL[:, -1:]
    to_end = jnp.exp(jnp.where(last_BL[..., None, None], after[:, -1:] - after, -jnp.inf))
    kept = jnp.exp(jnp.where(fresh_BL[:, -1, None, None], after[:, -1], -jnp.inf))
    return kept[..., None] * S + einsum("bshk,bshv->bhkv", k * to_end, v), o
