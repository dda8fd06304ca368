"""A token from logits."""

import jax
import jax.numpy as jnp


def restrict(logits_BA: jax.Array, *, top_k: int = 0, top_p: float = 1.0) -> jax.Array:
    """Logits with everything outside the most likely tokens set to -inf.

    Args:
        top_k: keep the k most likely tokens (and what ties with the k-th); 0 keeps all.
        top_p: keep the fewest most likely tokens whose probabilities sum to at least p (nucleus sampling,
            Holtzman et al. 2020); 1 keeps all. Applied after `top_k`, on what is left.
    """
    if 0 < top_k < logits_BA.shape[-1]:
        threshold_B1 = jax.lax.top_k(logits_BA, top_k)[0][:, -1:]
        logits_BA = jnp.where(logits_BA < threshold_B1, -jnp.inf, logits_BA)
    if top_p < 1:
        descending_BA = jnp.sort(logits_BA, axis=-1, descending=True)
        probability_BA = jax.nn.softmax(descending_BA, axis=-1)
        # A token stays if the tokens before it do not reach p yet: the most likely one always does.
        before_BA = jnp.cumsum(probability_BA, axis=-1) - probability_BA
        threshold_B1 = jnp.min(jnp.where(before_BA < top_p, descending_BA, jnp.inf), axis=-1, keepdims=True)
        logits_BA = jnp.where(logits_BA < threshold_B1, -jnp.inf, logits_BA)
    return logits_BA


def pick(key: jax.Array, logits_BA: jax.Array, *, temperature: float, top_k: int, top_p: float) -> jax.Array:
    """One token a row [B]: the most likely one at temperature 0, else drawn from softmax(logits / temperature)."""
    if temperature == 0:
        return jnp.argmax(logits_BA, axis=-1).astype(jnp.int32)
    logits_BA = restrict(logits_BA / temperature, top_k=top_k, top_p=top_p)
    return jax.random.categorical(key, logits_BA, axis=-1).astype(jnp.int32)
