"""The CRF step by step: the forward algorithm and Viterbi's."""

import jax
import jax.numpy as jnp

from xlstm_jax.ops.crf.weights import CRFWeights
from xlstm_jax.shapes import zero_where


def log_partition(emissions_BTA: jax.Array, weights: CRFWeights, padding_BT: jax.Array) -> jax.Array:
    """log Z [B] of finite scores by the forward algorithm: alpha_t(j) = e_t(j) + log sum_i exp(alpha_t-1(i) + T_ij)."""

    def step(alpha_BA, inputs):
        e_BA, padding_B = inputs
        after_BA = e_BA + jax.nn.logsumexp(_to_each(alpha_BA, weights), axis=1)
        return jnp.where(padding_B[:, None], alpha_BA, after_BA), None

    alpha_BA, _ = jax.lax.scan(step, *_start_and_rest(emissions_BTA, weights, padding_BT))
    return jax.nn.logsumexp(alpha_BA + weights.end_A[None], axis=1)


def viterbi(emissions_BTA: jax.Array, weights: CRFWeights, padding_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The best path [B, T], int32, zero in the padding, and its score [B]; of equal ones that of the lower tags."""
    tags_A = jnp.arange(emissions_BTA.shape[2], dtype=jnp.int32)

    def step(best_BA, inputs):
        e_BA, padding_B = inputs
        score_BAA = _to_each(best_BA, weights)
        # After the end, each tag comes from itself, so that the way back passes over the padding.
        from_BA = jnp.where(padding_B[:, None], tags_A[None], jnp.argmax(score_BAA, axis=1).astype(jnp.int32))
        return jnp.where(padding_B[:, None], best_BA, e_BA + jnp.max(score_BAA, axis=1)), from_BA

    best_BA, from_TBA = jax.lax.scan(step, *_start_and_rest(emissions_BTA, weights, padding_BT))
    best_BA = best_BA + weights.end_A[None]
    last_B = jnp.argmax(best_BA, axis=1).astype(jnp.int32)

    def back(tag_B, from_BA):
        before_B = jnp.take_along_axis(from_BA, tag_B[:, None], axis=1)[:, 0]
        return before_B, before_B

    _, before_TB = jax.lax.scan(back, last_B, from_TBA, reverse=True)
    tags_BT = jnp.concatenate([before_TB, last_B[None]]).T
    return zero_where(padding_BT, tags_BT), jnp.max(best_BA, axis=1)


def _to_each(score_BA: jax.Array, weights: CRFWeights) -> jax.Array:
    """[B, from, to]: the scores so far plus those of the transitions."""
    return score_BA[:, :, None] + weights.transitions_AA[None]


def _start_and_rest(emissions_BTA, weights, padding_BT):
    """The scores [B, A] after the first step, and the inputs of the others, time first."""
    rest = jnp.moveaxis(emissions_BTA[:, 1:], 1, 0), padding_BT[:, 1:].T
    return weights.start_A[None] + emissions_BTA[:, 0], rest
