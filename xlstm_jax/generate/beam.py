"""Beam search: the most probable texts, as far as a few candidates per row tell."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.checks import check_sizes
from xlstm_jax.config import NonNegativeFloat, check_value
from xlstm_jax.errors import UsageError
from xlstm_jax.generate.decoder import Decoder
from xlstm_jax.generate.options import check_tokens
from xlstm_jax.generate.state import GenerationState, committed


class Beams(NamedTuple):
    """The result of `beam_search`, the best text of each row first."""

    tokens_BKT: jax.Array  # int32; padding after a text's stop token
    lengths_BK: jax.Array  # int32, number of tokens, including the stop token
    scores_BK: jax.Array  # see `beam_search`; minus infinity where a row has fewer texts than candidates


@runtime_checkable
class Attending(Decoder, Protocol):
    """A decoder that can say what it has attended to."""

    def coverage(self, carry: Any) -> tuple[jax.Array, jax.Array]:
        """The sum [B, S] of the attention weights so far, and bools [B, S], true for positions of the source."""


def beam_search(
    model: Decoder,
    state: GenerationState,
    *,
    beams: int,
    length: int,
    stop: Sequence[int] = (),
    padding: int = 0,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
) -> Beams:
    """Keeps the `beams` best beginnings of a text after every token. One beam is greedy decoding.

        score = log p / ((5 + tokens) / 6)^length_penalty + coverage_penalty sum_s log min(attention to s, 1)

    Wu et al. 2016 (arXiv 1609.08144), equation 14. A text that has reached a stop token keeps its score and its place
    among the candidates until better ones push it out. The search ends when all candidates have stopped.

    Args:
        model: its carry has the batch as the first axis of each array.
        state: after the prompts, from `prefill` or `state_of`; its random key is not used.
        beams: K, candidates per row.
        length: maximum number of tokens, the stop token included.
        stop: tokens that end a text.
        padding: the token after a text's end.
        length_penalty: 0 ranks by log p, which favours short texts; 1 nearly by log p per token.
        coverage_penalty: favours texts that attend to the whole source; for models with attention only.

    Raises:
        UsageError: an option is outside its range, or a coverage penalty for a model without attention.
    """
    check_sizes("beam_search", beams=beams, length=length)
    check_value(NonNegativeFloat, length_penalty, "beam_search length_penalty")
    check_value(NonNegativeFloat, coverage_penalty, "beam_search coverage_penalty")
    check_tokens((*stop, padding), state.logits_BA.shape[-1])
    if coverage_penalty and not isinstance(model, Attending):
        raise UsageError(f"coverage_penalty {coverage_penalty} is for models with attention; leave it at 0")
    graphdef, weights = nnx.split(model)
    penalties = np.float32(length_penalty), np.float32(coverage_penalty)
    fixed = graphdef, beams, length, tuple(map(int, stop)), bool(coverage_penalty)
    return _search(*fixed, weights, committed(state, weights), penalties, np.int32(padding))


class _Search(NamedTuple):
    """The loop's variables; candidates of a row lie next to each other in the carry."""

    step: jax.Array
    carry: Any  # leaves [B * K, ...]
    logits_BKA: jax.Array
    log_p_BK: jax.Array
    tokens_BKT: jax.Array
    lengths_BK: jax.Array
    done_BK: jax.Array
    covered_BK: jax.Array  # sum_s log min(attention to s, 1), for the tokens so far


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _search(graphdef, beams, length, stop, covers, weights, state, penalties, padding) -> Beams:
    model = nnx.merge(graphdef, weights)
    batch, vocabulary = state.logits_BA.shape
    shape = batch, beams

    def score(log_p, tokens, covered):
        return log_p / ((5 + tokens.astype(jnp.float32)) / 6) ** penalties[0] + penalties[1] * covered

    def covered(search: _Search) -> jax.Array:
        if not covers:
            return jnp.zeros(shape, jnp.float32)
        seen_NS, there_NS = model.coverage(search.carry)
        least = jnp.finfo(jnp.float32).tiny
        return jnp.where(there_NS, jnp.log(jnp.clip(seen_NS, least, 1)), 0).sum(axis=1).reshape(shape)

    def unfinished(search: _Search):
        return (search.step < length) & ~jnp.all(search.done_BK)

    def body(search: _Search) -> _Search:
        log_p_BKA = search.log_p_BK[..., None] + jax.nn.log_softmax(search.logits_BKA.astype(jnp.float32), axis=-1)
        # A text that has ended goes on in one way, with padding, at no cost.
        only_A = jnp.arange(vocabulary) == padding
        ended_BKA = jnp.where(only_A[None, None], search.log_p_BK[..., None], -jnp.inf)
        log_p_BKA = jnp.where(search.done_BK[..., None], ended_BKA, log_p_BKA)
        after_BK = search.lengths_BK + (~search.done_BK).astype(jnp.int32)
        covered_BK = jnp.where(search.done_BK, search.covered_BK, covered(search))
        score_BKA = score(log_p_BKA, *(jnp.broadcast_to(a[..., None], log_p_BKA.shape) for a in (after_BK, covered_BK)))
        _, best_BK = jax.lax.top_k(score_BKA.reshape(batch, -1), beams)
        from_BK, token_BK = jnp.divmod(best_BK.astype(jnp.int32), jnp.int32(vocabulary))
        moved = search.done_BK, after_BK, covered_BK, search.tokens_BKT
        done_BK, lengths_BK, covered_BK, tokens_BKT = (_of(a, from_BK) for a in moved)
        token_BK = jnp.where(done_BK, padding, token_BK)
        log_p_BK = jnp.take_along_axis(log_p_BKA.reshape(batch, -1), best_BK, axis=1)
        tokens_BKT = jax.lax.dynamic_update_slice_in_dim(tokens_BKT, token_BK[..., None], search.step, axis=2)
        rows_N = (from_BK + beams * jnp.arange(batch, dtype=jnp.int32)[:, None]).reshape(-1)
        carry = jax.tree.map(lambda leaf: leaf[rows_N], search.carry)
        done_BK = functools.reduce(jnp.logical_or, [token_BK == one for one in stop], done_BK)
        logits_NA, carry = model.step(token_BK.reshape(-1), carry, (~done_BK).astype(jnp.int32).reshape(-1))
        logits_BKA = logits_NA.reshape(*shape, vocabulary).astype(search.logits_BKA.dtype)
        return _Search(search.step + 1, carry, logits_BKA, log_p_BK, tokens_BKT, lengths_BK, done_BK, covered_BK)

    # All candidates are the same at first, so that only one may go on.
    first_K = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf).astype(jnp.float32)
    start = _Search(
        jnp.int32(0),
        jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), state.carry),
        jnp.repeat(state.logits_BA[:, None], beams, axis=1),
        jnp.broadcast_to(first_K[None], shape),
        jnp.full((*shape, length), padding, jnp.int32),
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, bool),
        jnp.zeros(shape, jnp.float32),
    )
    found = jax.lax.while_loop(unfinished, body, start)
    return _ranked(found, score(found.log_p_BK, found.lengths_BK, found.covered_BK))


def _ranked(found: _Search, score_BK: jax.Array) -> Beams:
    order_BK = jnp.argsort(-score_BK, axis=1, stable=True)
    return Beams(*(_of(a, order_BK) for a in (found.tokens_BKT, found.lengths_BK, score_BK)))


def _of(x_BK: jax.Array, index_BK: jax.Array) -> jax.Array:
    """The candidates of x [B, K, ...] in another order."""
    return jnp.take_along_axis(x_BK, index_BK.reshape(*index_BK.shape, *(1,) * (x_BK.ndim - 2)), axis=1)
