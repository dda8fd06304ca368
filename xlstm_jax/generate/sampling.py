"""Sampling of tokens from logits."""

import jax
import jax.numpy as jnp


def restrict(logits_BA: jax.Array, *, top_k: int | jax.Array = 0, top_p: float | jax.Array = 1.0) -> jax.Array:
    """Sets logits outside the most likely tokens to -inf.

    Args:
        logits_BA: float32.
        top_k: keep the k most likely tokens (and ties with the k-th); 0 keeps all.
        top_p: keep the fewest most likely tokens (and ties with the last) whose probabilities sum to at least p
            (nucleus sampling, Holtzman et al. 2020); 1 keeps all. Applied after `top_k` to the remaining tokens.
    """
    rank_BA = _rank(logits_BA)
    one_BA = jnp.ones_like(rank_BA, jnp.int32)
    kept_BA = (top_k < 1) | (rank_BA >= _reached(rank_BA, one_BA, jnp.int32(top_k)))
    logits_BA = jnp.where(kept_BA, logits_BA, -jnp.inf)
    least_p = jnp.maximum(jnp.float32(top_p), jnp.finfo(jnp.float32).tiny)  # the most likely one stays at any p
    probability_BA = jax.nn.softmax(logits_BA, axis=-1)
    kept_BA = (top_p >= 1) | (rank_BA >= _reached(rank_BA, probability_BA, least_p))
    return jnp.where(kept_BA, logits_BA, -jnp.inf)


def pick(
    key: jax.Array,
    logits_BA: jax.Array,
    *,
    temperature: float | jax.Array,
    top_k: int | jax.Array = 0,
    top_p: float | jax.Array = 1.0,
) -> jax.Array:
    """Returns one token per row, [B]: the most likely at temperature 0, else drawn from softmax(logits / temperature).

    Options may be traced: one program serves all values and does only the work that the given values need.
    """

    def greedy() -> jax.Array:
        return jnp.argmax(logits_BA, axis=-1)

    def drawn() -> jax.Array:
        scaled_BA = logits_BA / temperature
        narrow = (jnp.asarray(top_k) > 0) | (jnp.asarray(top_p) < 1)
        scaled_BA = jax.lax.cond(narrow, lambda: restrict(scaled_BA, top_k=top_k, top_p=top_p), lambda: scaled_BA)
        return jax.random.categorical(key, scaled_BA, axis=-1)

    return jax.lax.cond(jnp.asarray(temperature) == 0, greedy, drawn).astype(jnp.int32)


def _rank(x_BA: jax.Array) -> jax.Array:
    """Maps floats to uint32 in the same order; 0.0 and -0.0 are equal."""
    x_BA = jnp.where(x_BA == 0, 0.0, x_BA.astype(jnp.float32))
    bits_BA = jax.lax.bitcast_convert_type(x_BA, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    return jnp.where(bits_BA >= sign, ~bits_BA, bits_BA | sign)


def _reached(rank_BA: jax.Array, weight_BA: jax.Array, wanted: jax.Array) -> jax.Array:
    """[B, 1], the largest rank r such that the weights with rank >= r sum to at least `wanted`; 0 if there is none.

    Found bit by bit with 32 sums, which is faster than sorting a large vocabulary.
    """

    def body(step, found_B1):
        tried_B1 = found_B1 | (jnp.uint32(1 << 31) >> step.astype(jnp.uint32))
        sum_B1 = jnp.sum(jnp.where(rank_BA >= tried_B1, weight_BA, 0), axis=-1, keepdims=True, dtype=weight_BA.dtype)
        return jnp.where(sum_B1 >= wanted, tried_B1, found_B1)

    return jax.lax.fori_loop(0, 32, body, jnp.zeros_like(rank_BA[:, :1]))
