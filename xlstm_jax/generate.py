"""Sampling from a language model, with the recurrent state that training uses."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models import LanguageModel


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


def generate(
    model: LanguageModel,
    prompt_BT: jax.Array,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
) -> jax.Array:
    """`length` tokens [B, length] after each prompt.

    The prompt is read in one pass (chunked where the model has a chunked form), then one compiled loop feeds each token
    back with the carry: the cost of a token does not grow with what came before.

    Args:
        prompt_BT: ints, at least one token a row.
        temperature: 0 is greedy.
        top_k, top_p: see `restrict`.
        seed: of the draws; the same seed gives the same text.

    Raises:
        UsageError: an empty prompt, or an option outside its range.
    """
    if prompt_BT.shape[1] < 1:
        raise UsageError("the prompt is empty; give at least one token")
    if length < 1 or temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise UsageError(
            f"length {length}, temperature {temperature}, top_k {top_k}, top_p {top_p}: "
            "length is at least 1, temperature and top_k at least 0, top_p over 0 and at most 1"
        )
    graphdef, state = nnx.split(model)
    return _generate(graphdef, length, temperature, top_k, top_p, state, prompt_BT, jax.random.key(seed))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _generate(graphdef, length, temperature, top_k, top_p, state, prompt_BT, key):
    model = nnx.merge(graphdef, state)
    logits_BTA, carry = model.unroll(prompt_BT)

    def body(loop: tuple[Any, jax.Array], key: jax.Array):
        carry, logits_BA = loop
        token_B = pick(key, logits_BA, temperature=temperature, top_k=top_k, top_p=top_p)
        logits_BTA, carry = model.unroll(token_B[:, None], carry)
        return (carry, logits_BTA[:, -1]), token_B

    _, tokens_TB = jax.lax.scan(body, (carry, logits_BTA[:, -1]), jax.random.split(key, length))
    return tokens_TB.T


def sample_text(model: LanguageModel, tokenizer: Any, prompt: str, **options: Any) -> str:
    """The prompt and its continuation as text; options as in `generate`.

    Raises:
        UsageError: the prompt is empty or has characters outside the vocabulary.
    """
    tokens_T = tokenizer.encode(prompt).astype(np.int32)
    continuation_BT = generate(model, jnp.asarray(tokens_T)[None, :], **options)
    return tokenizer.decode(np.concatenate([tokens_T, np.asarray(continuation_BT[0])]))
