"""Causal softmax attention in a sliding window, with rotary positions, a cache, resets and padding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.checks import check_sizes, checked, checked_carry, is_empty
from xlstm_jax.config import RotaryBase, check_value
from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import is_known, padding_mask, state_dtype, steps_within, zero_padding


class KVCache(NamedTuple):
    """Keys and values of the last W-1 steps, newest last; zero in slots not filled since the last reset."""

    k: jax.Array  # [B, W-1, G, K], not rotated
    v: jax.Array  # [B, W-1, G, K]
    count: jax.Array  # [B] int32: number of filled slots


def empty_cache(batch: int, window: int, groups: int, keys: int, dtype) -> KVCache:
    """The cache before the first step, for attention over `window` steps including the current one."""
    k, v = (jnp.zeros((batch, window - 1, groups, keys), dtype) for _ in range(2))
    return KVCache(k, v, jnp.zeros((batch,), jnp.int32))


def rotary(x_BTHK: jax.Array, position_T: jax.Array, base: float = 10_000.0) -> jax.Array:
    """Rotates feature pairs (j, j + K/2) by the angle position / base^(2j/K), so q.k depends only on the distance.

    Su et al. 2021 (arXiv 2104.09864), equation 34. Computed in at least float32.
    """
    half = x_BTHK.shape[-1] // 2
    wide = state_dtype(x_BTHK)
    angle_TK = position_T.astype(wide)[:, None] * base ** (-jnp.arange(half, dtype=wide) / half)[None, :]
    cos, sin = (f(angle_TK)[None, :, None, :] for f in (jnp.cos, jnp.sin))
    one, two = jnp.split(x_BTHK.astype(wide), 2, axis=-1)
    return jnp.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1).astype(x_BTHK.dtype)


def attention(
    q_BTHK: jax.Array,
    k_BTGK: jax.Array,
    v_BTGK: jax.Array,
    *,
    window: int,
    base: float = 10_000.0,
    cache: KVCache | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
) -> tuple[jax.Array, KVCache]:
    """y_t = sum_s softmax_s(q_t.k_s / sqrt(K)) v_s over the last `window` steps s <= t, with q and k rotated.

    H is a multiple of G; each key/value head serves H/G query heads (grouped queries, Ainslie et al. 2023).

    Args:
        q_BTHK, k_BTGK, v_BTGK: queries, keys and values of one dtype, all with K features per head.
        window: number of steps that each step sees, including itself. The cache holds `window` - 1 steps.
        base: base of the rotary angles.
        cache: cache from the previous call; None is an empty one.
        reset_BT: true at steps from which on nothing earlier is seen.
        lengths_B: lengths under right padding. Padded steps are not cached and output zero. Lengths above T count as T,
            negative ones as 0.

    Returns:
        y [B, T, H, K] in v's dtype, and the cache for the next call.

    Raises:
        UsageError: shapes or dtypes that do not fit, or a cache for another window or batch size.
    """
    arrays = {"q_BTHK": q_BTHK, "k_BTGK": k_BTGK, "v_BTGK": v_BTGK, "reset_BT": reset_BT, "lengths_B": lengths_B}
    q_BTHK, k_BTGK, v_BTGK, reset_BT, lengths_B = checked("attention", **arrays)
    check_sizes("attention", window=window)
    check_value(RotaryBase, base, "attention base")
    batch, time, heads, keys = q_BTHK.shape
    groups = k_BTGK.shape[2]
    if keys % 2 or groups < 1 or heads % groups:
        raise UsageError(
            f"attention got {heads} heads of {keys} features in {groups} groups; features per head must be even, "
            "and heads a multiple of groups"
        )
    before = empty_cache(batch, window, groups, keys, k_BTGK.dtype)
    before = before if cache is None else checked_carry("attention", cache, before, "cache")
    if is_empty(q_BTHK):
        return jnp.zeros(q_BTHK.shape, v_BTGK.dtype), before
    kept = window - 1
    k, v = (zero_padding(a, lengths_B) for a in (k_BTGK, v_BTGK))
    if reset_BT is not None and lengths_B is not None:
        reset_BT = reset_BT & ~padding_mask(lengths_B, time)
    all_k, all_v = (jnp.concatenate([old, new], axis=1) for old, new in ((before.k, k), (before.v, v)))
    after = _after(before, all_k, all_v, reset_BT, lengths_B, time)
    plain = cache is None and reset_BT is None and q_BTHK.dtype != jnp.float64 and is_known(time)
    if plain:
        # A plain causal mask: `dot_product_attention` has fast paths for it.
        position_T = jnp.arange(time, dtype=jnp.int32)
        local = (kept, 0) if time > window else None
        y = jax.nn.dot_product_attention(
            rotary(q_BTHK, position_T, base), rotary(k, position_T, base), v, is_causal=True, local_window_size=local
        )
    else:
        position_S = jnp.arange(kept + time, dtype=jnp.int32)
        q, all_k = rotary(q_BTHK, position_S[kept:], base), rotary(all_k, position_S, base)
        mask_BTS = _seen(before.count, reset_BT, batch, time, window)
        attend = _wide_attention if q.dtype == jnp.float64 else jax.nn.dot_product_attention
        y = attend(q, all_k, all_v, mask=mask_BTS[:, None])
    return zero_padding(y, lengths_B), after


def _wide_attention(q_BTHK, k_BSGK, v_BSGK, *, mask) -> jax.Array:
    """`jax.nn.dot_product_attention` with `mask` [B, 1, T, S] in float64: jax's own softmax is always float32."""
    (batch, time, heads, keys), groups = q_BTHK.shape, k_BSGK.shape[2]
    q_BTGRK = q_BTHK.reshape(batch, time, groups, heads // groups, keys)
    score = jnp.einsum("btgrk,bsgk->bgrts", q_BTGRK, k_BSGK) * keys**-0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None], score, -jnp.inf), axis=-1)
    return jnp.einsum("bgrts,bsgk->btgrk", weights, v_BSGK).reshape(q_BTHK.shape)


def _seen(count_B, reset_BT, batch: int, time: int, window: int) -> jax.Array:
    """[B, T, W-1+T], true if step t sees slot s: a cached step for s < W-1, else step s - (W-1) of this call."""
    kept = window - 1
    t, s = jnp.arange(time, dtype=jnp.int32)[:, None], jnp.arange(kept + time, dtype=jnp.int32)[None, :]
    distance_TS = kept + t - s
    near = (distance_TS >= 0) & (distance_TS < window)
    segment_BT = jnp.zeros((batch, time), jnp.int32) if reset_BT is None else jnp.cumsum(reset_BT, 1, dtype=jnp.int32)
    # Cached steps come before every reset of this call: segment 0. Empty slots get segment -1, which no step sees.
    there_BS = _there(count_B, kept)
    segment_BS = jnp.concatenate([there_BS.astype(jnp.int32) - 1, segment_BT], axis=1)
    return near[None] & (segment_BT[:, :, None] == segment_BS[:, None, :])


def _there(count_B, kept: int) -> jax.Array:
    """[B, W-1], true in the slots of the cache that hold a step: the last `count`."""
    return jnp.arange(kept, dtype=jnp.int32)[None, :] >= kept - count_B[:, None]


def _after(before: KVCache, all_k, all_v, reset_BT, lengths_B, time: int) -> KVCache:
    """The W - 1 steps that end at each sequence's length, with zeros for steps before its last reset."""
    batch, kept = all_k.shape[0], before.k.shape[1]
    lengths_B = jnp.full((batch,), time, jnp.int32) if lengths_B is None else steps_within(lengths_B, time)
    count_B = before.count + lengths_B
    if reset_BT is not None:
        # `since_B` is the step of the last reset: that step and those after it count.
        since_B = time - jnp.argmax(reset_BT[:, ::-1], axis=1).astype(jnp.int32) - 1
        count_B = jnp.where(jnp.any(reset_BT, axis=1), lengths_B - since_B, count_B)
    count_B = jnp.minimum(count_B, kept)
    index_BW = lengths_B[:, None] + jnp.arange(kept, dtype=jnp.int32)[None, :]
    there_BW = _there(count_B, kept)

    def last(a):
        taken = jnp.take_along_axis(a, index_BW[:, :, None, None], axis=1)
        return jnp.where(there_BW[:, :, None, None], taken, jnp.zeros_like(taken))

    return KVCache(last(all_k), last(all_v), count_B)
