"""Attention from a decoder's states to an encoder's outputs, as in the first recurrent attention models."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_choice, check_dtype, check_sizes, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.nn.linear import linear
from xlstm_jax.shapes import padding_mask, state_dtype, zero_padding

Score = Literal["dot", "general", "concat"]


def attend(
    score_BTS: jax.Array, memory_BSV: jax.Array, lengths_B: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Context [B, T, V], the mean of the memory weighted by a softmax of the scores over S, and the weights [B, T, S].

    Positions at or after `lengths_B` and those with a score of minus infinity get weight zero. If no position is left,
    the context is zero. The memory must be finite everywhere (`shapes.zero_padding`).
    """
    score_BTS = score_BTS.astype(state_dtype(score_BTS))
    seen_BTS = score_BTS != -jnp.inf
    if lengths_B is not None:
        seen_BTS = seen_BTS & ~padding_mask(lengths_B, memory_BSV.shape[1])[:, None]
    score_BTS = jnp.where(seen_BTS, score_BTS, jnp.finfo(score_BTS.dtype).min)
    weights_BTS = jnp.where(seen_BTS, jax.nn.softmax(score_BTS, axis=-1), jnp.zeros_like(score_BTS))
    context_BTV = jnp.einsum("bts,bsv->btv", weights_BTS.astype(memory_BSV.dtype), memory_BSV)
    return context_BTV, weights_BTS


def _checked(owner: str, sizes: dict[str, int], query, memory_BSV, lengths, keys_BSF) -> tuple[jax.Array | None, ...]:
    """The arguments of a call as arrays with matching shapes; the query is [B, Q] or [B, T, Q]."""
    (query,) = checked(owner, sizes, **{"query_...Q": query})
    name = "query_BQ" if query.ndim == 2 else "query_BTQ"
    return checked(owner, sizes, **{name: query}, memory_BSV=memory_BSV, lengths_B=lengths, keys_BSF=keys_BSF)


def _check_sizes(owner: str, query_features, memory_features, features, dtype) -> None:
    check_sizes(owner, query_features=query_features, memory_features=memory_features, features=features)
    check_dtype(owner, dtype)


def _additive_score(query_BTF: jax.Array, key_BSF: jax.Array, v_F: jax.Array) -> jax.Array:
    """v . tanh(q + k) for each pair of query and key: [B, T, S]."""
    query_BTSF, key_BTSF = jnp.broadcast_arrays(query_BTF[:, :, None], key_BSF[:, None])
    return jnp.tanh(query_BTSF + key_BTSF) @ v_F


class BahdanauAttention(nnx.Module):
    """e_ts = v . tanh(q_t W + k_s U), context_t = sum_s softmax_s(e_ts) k_s. Bahdanau et al. 2015 (arXiv 1409.0473).

    Equations 5, 6 and A.1.2.

    Args:
        query_features, memory_features: widths of the decoder's states and of the encoder's outputs.
        features: width of the sum inside the tanh.
    """

    def __init__(
        self,
        query_features: int,
        memory_features: int,
        features: int,
        *,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _check_sizes("BahdanauAttention", query_features, memory_features, features, dtype)
        # Pairs instead of a dict: the structure of a model has to be hashable.
        self.sizes = ("Q", query_features), ("V", memory_features), ("F", features)
        init = nnx.initializers.lecun_normal()
        self.query = linear(query_features, features, init, dtype=dtype, rngs=rngs)
        self.memory = linear(memory_features, features, init, dtype=dtype, rngs=rngs)
        self.v = nnx.Param(init(rngs.params(), (features, 1), jnp.float32)[:, 0])
        self.dtype = dtype

    def keys(self, memory_BSV: jax.Array) -> jax.Array:
        """k_s U. A decoder computes it once per sequence and passes it to each call as `keys_BSF`."""
        return self.memory(memory_BSV)

    def __call__(
        self,
        query: jax.Array,
        memory_BSV: jax.Array,
        lengths: jax.Array | None = None,
        *,
        keys_BSF: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Context [B, T, V] and weights [B, T, S] for queries [B, T, Q]; without the axis T for queries [B, Q]."""
        given = _checked("BahdanauAttention", dict(self.sizes), query, memory_BSV, lengths, keys_BSF)
        query, memory_BSV, lengths, keys_BSF = given
        query_BTQ = query[:, None] if query.ndim == 2 else query
        memory_BSV = zero_padding(memory_BSV, lengths)
        keys_BSF = self.keys(memory_BSV) if keys_BSF is None else zero_padding(keys_BSF, lengths)
        score_BTS = _additive_score(self.query(query_BTQ), keys_BSF, self.v[...].astype(self.dtype))
        context_BTV, weights_BTS = attend(score_BTS, memory_BSV.astype(self.dtype), lengths)
        return (context_BTV[:, 0], weights_BTS[:, 0]) if query.ndim == 2 else (context_BTV, weights_BTS)


class LuongAttention(nnx.Module):
    """Global attention of Luong et al. 2015 (arXiv 1508.04025), equations 5, 7 and 8.

        score_ts = a q_t . k_s  |  a q_t . (k_s W)  |  v . tanh([q_t; k_s] W)      "dot" | "general" | "concat"
        context_t = sum_s softmax_s(score_ts) k_s          h_t = tanh([context_t; q_t] W_c)

    Args:
        query_features, memory_features: widths of the decoder's states and of the encoder's outputs; equal for "dot".
        features: width of h, and of the sum inside the tanh of "concat".
        score: which of the three scores to use.
        scale: a, which the paper does not have. Between states with entries of size 1, scores grow with the square root
            of their width, so that one position gets all the weight and the attention hardly learns; 1 / sqrt(width)
            prevents it (Vaswani et al. 2017, section 3.2.1).
    """

    def __init__(
        self,
        query_features: int,
        memory_features: int,
        features: int,
        *,
        score: Score = "general",
        scale: float = 1.0,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_choice("score", score, Score)
        if score == "dot" and query_features != memory_features:
            raise UsageError(
                f"score 'dot' needs equal widths, got {query_features} and {memory_features}; use 'general'"
            )
        _check_sizes("LuongAttention", query_features, memory_features, features, dtype)
        keys = {"dot": memory_features, "general": query_features, "concat": features}
        self.sizes = ("Q", query_features), ("V", memory_features), ("F", keys[score])
        init = nnx.initializers.lecun_normal()
        self.score, self.scale, self.dtype = score, float(scale), dtype
        if score == "general":
            self.memory = linear(memory_features, query_features, init, dtype=dtype, rngs=rngs)
        if score == "concat":
            self.query = linear(query_features, features, init, dtype=dtype, rngs=rngs)
            self.memory = linear(memory_features, features, init, dtype=dtype, rngs=rngs)
            self.v = nnx.Param(init(rngs.params(), (features, 1), jnp.float32)[:, 0])
        self.out = linear(memory_features + query_features, features, init, dtype=dtype, rngs=rngs)

    def keys(self, memory_BSV: jax.Array) -> jax.Array:
        """k_s W, or k_s for "dot". A decoder computes it once per sequence and passes it to each call as `keys_BSF`."""
        return memory_BSV.astype(self.dtype) if self.score == "dot" else self.memory(memory_BSV)

    def __call__(
        self,
        query: jax.Array,
        memory_BSV: jax.Array,
        lengths: jax.Array | None = None,
        *,
        keys_BSF: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """h [B, T, features] and weights [B, T, S] for queries [B, T, Q]; without the axis T for queries [B, Q]."""
        given = _checked("LuongAttention", dict(self.sizes), query, memory_BSV, lengths, keys_BSF)
        query, memory_BSV, lengths, keys_BSF = given
        query_BTQ = (query[:, None] if query.ndim == 2 else query).astype(self.dtype)
        memory_BSV = zero_padding(memory_BSV.astype(self.dtype), lengths)
        keys_BSF = self.keys(memory_BSV) if keys_BSF is None else zero_padding(keys_BSF, lengths)
        if self.score == "concat":
            score_BTS = _additive_score(self.query(query_BTQ), keys_BSF, self.v[...].astype(self.dtype))
        else:
            score_BTS = jnp.einsum("btf,bsf->bts", query_BTQ * jnp.asarray(self.scale, self.dtype), keys_BSF)
        context_BTV, weights_BTS = attend(score_BTS, memory_BSV, lengths)
        h_BTF = jnp.tanh(self.out(jnp.concatenate([context_BTV, query_BTQ], axis=-1)))
        return (h_BTF[:, 0], weights_BTS[:, 0]) if query.ndim == 2 else (h_BTF, weights_BTS)
