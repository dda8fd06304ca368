"""A linear-chain CRF as a layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.checks import check_sizes
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.crf import CRFWeights, log_likelihood, viterbi


class CRF(nnx.Module):
    """Holds the scores of transitions, of first and of last tags, which start at zero.

    Training knows no forbidden transitions, so that before training all paths are equally probable; decoding does not
    leave what is allowed.

    Args:
        tags: A, their number.
        learned: whether scores are learned; if not, they stay zero: each step's tag is independent of the others.
        allowed: bools for transitions [from, to], first tags and last tags, as from `data.tagging.schemes.allowed`;
            None: all.
    """

    def __init__(self, tags: int, *, learned: bool = True, allowed: Sequence[np.ndarray] | None = None):
        check_sizes("CRF", tags=tags)
        shapes = (tags, tags), (tags,), (tags,)
        if allowed is not None and tuple(np.shape(part) for part in allowed) != shapes:
            given = ", ".join(str(np.shape(part)) for part in allowed)
            raise UsageError(f"CRF got allowed {given}; wanted [A,A], [A], [A] with A = {tags}")
        self.tags = tags
        if learned:
            self.transitions, self.start, self.end = (
                nnx.Param(jnp.zeros(shape, jnp.float32), decay=False) for shape in shapes
            )
        self.learned = learned
        # As bytes, because the structure of a model has to be hashable.
        self.allowed = None if allowed is None else tuple(np.asarray(part, bool).tobytes() for part in allowed)

    @property
    def weights(self) -> CRFWeights:
        """The scores, with nothing forbidden."""
        if not self.learned:
            return CRFWeights(*(jnp.zeros((self.tags,) * axes, jnp.float32) for axes in (2, 1, 1)))
        return CRFWeights(self.transitions[...], self.start[...], self.end[...])

    def log_likelihood(
        self, emissions_BTA: jax.Array, tags_BT: jax.Array, lengths: jax.Array | None = None
    ) -> jax.Array:
        """log p(tags) of each row, [B]; see `ops.crf.log_likelihood`."""
        return log_likelihood(emissions_BTA, tags_BT, self.weights, lengths_B=lengths)

    def decode(self, emissions_BTA: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """The most probable allowed tags [B, T], int32, zero in the padding; see `ops.crf.viterbi`."""
        weights = self.weights
        if self.allowed is not None:
            masks = (
                jnp.asarray(np.frombuffer(part, bool).reshape(score.shape))
                for part, score in zip(self.allowed, weights, strict=True)
            )
            weights = CRFWeights(*(jnp.where(mask, s, -jnp.inf) for mask, s in zip(masks, weights, strict=True)))
        return viterbi(emissions_BTA, weights, lengths_B=lengths)[0]
