"""The CRF op: checks arguments and selects an implementation.

A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001) gives each path of tags y the probability

    p(y) = exp(s(y)) / Z        s(y) = start(y_1) + sum_t e_t(y_t) + sum_t T(y_t-1, y_t) + end(y_L)

with emissions e from a model. Rows may differ in length. A row of length 0 has the empty path alone, of score 0.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.checks import checked
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.crf import associative, scan
from xlstm_jax.ops.crf.weights import CRFWeights, finite, possible
from xlstm_jax.shapes import padding_mask, state_dtype, zero_padding

IMPLEMENTATIONS = {"scan": scan.log_partition, "associative": associative.log_partition}
Implementation = Literal["scan", "associative"]


def log_partition(
    emissions_BTA: jax.Array,
    weights: CRFWeights,
    *,
    lengths_B: jax.Array | None = None,
    implementation: Implementation | None = None,
) -> jax.Array:
    """log Z [B], the logarithm of the sum of exp(score) over all paths; minus infinity if none is possible.

    Args:
        emissions_BTA: scores of each tag at each step, in nats: float32, bfloat16 or float64.
        weights: scores of transitions, of first and of last tags.
        lengths_B: lengths under right padding. Padding has no effect and gets no gradient.
        implementation: "scan" (T steps of A^2), "associative" (log2 T steps, A^3 in all for each t), or None: the scan.

    Returns:
        In the emissions' dtype, at least float32. Its gradient with respect to the emissions is `marginals`.

    Raises:
        UsageError: shapes that do not fit, or an unknown implementation.
    """
    emissions_BTA, weights, lengths_B, padding_BT = _checked("log_partition", emissions_BTA, weights, lengths_B)
    return _named(_log_z(implementation, emissions_BTA, weights, padding_BT), lengths_B)


def log_likelihood(
    emissions_BTA: jax.Array,
    tags_BT: jax.Array,
    weights: CRFWeights,
    *,
    lengths_B: jax.Array | None = None,
    implementation: Implementation | None = None,
) -> jax.Array:
    """log p(tags) = s(tags) - log Z, [B]; minus infinity for an impossible path. Other arguments as `log_partition`.

    Args:
        tags_BT: ints below A; any value in the padding.
    """
    emissions_BTA, weights, lengths_B, padding_BT = _checked("log_likelihood", emissions_BTA, weights, lengths_B)
    emissions_BTA, tags_BT = checked("log_likelihood", emissions_BTA=emissions_BTA, tokens_BT=tags_BT)
    log_z_B = _log_z(implementation, emissions_BTA, weights, padding_BT)
    if not emissions_BTA.shape[1]:
        return log_z_B
    tags_BT = jnp.where(padding_BT, 0, tags_BT)
    # A transition counts if the step that it leads to is there.
    e_BT = jnp.take_along_axis(emissions_BTA, tags_BT[:, :, None], axis=2)[:, :, 0]
    moves_BT = weights.transitions_AA[tags_BT[:, :-1], tags_BT[:, 1:]]
    last_B = jnp.take_along_axis(tags_BT, jnp.maximum(lengths_B - 1, 0)[:, None], axis=1)[:, 0]
    score_B = weights.start_A[tags_BT[:, 0]] + weights.end_A[last_B]
    score_B += zero_padding(e_BT, lengths_B).sum(axis=1)
    score_B += jnp.where(padding_BT[:, 1:], 0, moves_BT).sum(axis=1)
    return _named(jnp.where(possible(score_B), score_B - log_z_B, score_B), lengths_B)


def marginals(
    emissions_BTA: jax.Array,
    weights: CRFWeights,
    *,
    lengths_B: jax.Array | None = None,
    implementation: Implementation | None = None,
) -> jax.Array:
    """p(y_t = a) [B, T, A] of each tag at each step, zero in the padding: the gradient of log Z. As `log_partition`."""
    (emissions_BTA,) = checked("marginals", emissions_BTA=emissions_BTA)

    def total(emissions_BTA):
        log_z_B = log_partition(emissions_BTA, weights, lengths_B=lengths_B, implementation=implementation)
        return jnp.sum(jnp.where(jnp.isfinite(log_z_B), log_z_B, 0))

    return jax.grad(total)(emissions_BTA.astype(state_dtype(emissions_BTA)))


def viterbi(
    emissions_BTA: jax.Array, weights: CRFWeights, *, lengths_B: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The most probable path [B, T], int32, zero in the padding, and its score s [B]; arguments as `log_partition`.

    Viterbi 1967. Of paths with equal scores, the last tags decide: the lower one wins. A row without a possible path
    has the score minus infinity.
    """
    emissions_BTA, weights, lengths_B, padding_BT = _checked("viterbi", emissions_BTA, weights, lengths_B)
    if not emissions_BTA.shape[1]:
        return jnp.zeros(emissions_BTA.shape[:2], jnp.int32), jnp.zeros(emissions_BTA.shape[:1], emissions_BTA.dtype)
    tags_BT, score_B = scan.viterbi(emissions_BTA, weights, padding_BT)
    return tags_BT, _named(score_B, lengths_B)


def _log_z(implementation, emissions_BTA, weights, padding_BT) -> jax.Array:
    """log Z [B] of arguments from `_checked`; very negative for rows without a possible path."""
    name = "scan" if implementation is None else implementation
    if name not in IMPLEMENTATIONS:
        raise UsageError(f"crf implementation {name!r} is unknown; known: {', '.join(IMPLEMENTATIONS)}")
    if not emissions_BTA.shape[1]:
        return jnp.zeros(emissions_BTA.shape[:1], emissions_BTA.dtype)
    with jax.named_scope(f"crf_{name}"):
        return IMPLEMENTATIONS[name](emissions_BTA, weights, padding_BT)


def _checked(op, emissions_BTA, weights, lengths_B):
    """Finite scores in at least float32, zero in the padding; lengths; the padding [B, T]."""
    names = {"transitions_AA": weights[0], "start_A": weights[1], "end_A": weights[2]}
    emissions_BTA, *parts, lengths_B = checked(op, emissions_BTA=emissions_BTA, **names, lengths_B=lengths_B)
    batch, time, _ = emissions_BTA.shape
    lengths_B = jnp.full((batch,), time, jnp.int32) if lengths_B is None else lengths_B
    dtype = state_dtype(emissions_BTA)
    emissions_BTA, *parts = (finite(array.astype(dtype)) for array in (emissions_BTA, *parts))
    return zero_padding(emissions_BTA, lengths_B), CRFWeights(*parts), lengths_B, padding_mask(lengths_B, time)


def _named(score_B: jax.Array, lengths_B: jax.Array) -> jax.Array:
    """Minus infinity for impossible rows, 0 for rows of length 0."""
    return jnp.where(lengths_B < 1, 0, jnp.where(possible(score_B), score_B, -jnp.inf))
