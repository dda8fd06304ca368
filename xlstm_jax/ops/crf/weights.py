"""The weights of a linear-chain CRF, and the scores of impossible paths."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Stands for minus infinity within the sums: differences of infinities would be NaN, and so would gradients. A path with
# one such score has probability exactly 0 next to any possible path, and 1e8 of them still fit into a float32.
IMPOSSIBLE = -1e30


class CRFWeights(NamedTuple):
    """Scores of a path apart from the emissions; minus infinity forbids a transition, a first or a last tag."""

    transitions_AA: jax.Array  # [from, to]
    start_A: jax.Array  # of the first tag
    end_A: jax.Array  # of the last tag


def finite(scores: jax.Array) -> jax.Array:
    """The scores with `IMPOSSIBLE` for minus infinity, which gets no gradient."""
    return jnp.maximum(scores, IMPOSSIBLE)


def possible(scores: jax.Array) -> jax.Array:
    """True for scores of paths that contain nothing impossible."""
    return scores > IMPOSSIBLE / 10
