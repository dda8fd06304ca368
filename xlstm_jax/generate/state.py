"""What a text needs to go on, and where its arrays lie."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.generate.decoder import Decoder
from xlstm_jax.generate.options import check_options


class GenerationState(NamedTuple):
    """All that a text needs to go on; its size does not grow with the text."""

    carry: Any  # the model's, after the last token of each row
    logits_BA: jax.Array  # of the next token
    key: jax.Array  # of all draws; draw number n takes fold_in(key, n)
    step: jax.Array  # int32, draws made so far
    done_B: jax.Array  # bool, rows whose last token was a stop token


def init_state(model: Decoder, batch: int, seed: int = 0) -> GenerationState:
    """The state of `batch` rows before their first token; its logits have no meaning until a prompt is read.

    Raises:
        UsageError: a seed outside its range.
    """
    return state_of(model.init_carry(batch), jnp.zeros((batch, model.vocab_size), jnp.float32), seed)


def state_of(carry: Any, logits_BA: jax.Array, seed: int = 0) -> GenerationState:
    """The state before the first draw, after a prompt that led to this carry and these logits.

    Raises:
        UsageError: a seed outside its range.
    """
    check_options(seed=seed)
    # A key takes 32 bits of a number and silently drops the others.
    high, low = divmod(seed, 1 << 32)
    key = jax.random.key(np.uint32(low))
    return GenerationState(
        carry=carry,
        logits_BA=logits_BA,
        key=jax.random.fold_in(key, high) if high else key,
        step=jnp.zeros((), jnp.int32),
        done_B=jnp.zeros((logits_BA.shape[0],), bool),
    )


def committed(state: GenerationState, weights: Any) -> GenerationState:
    """The state on the weights' devices, committed to them.

    A program's outputs are committed where its arguments are, and jax compiles it again where arguments that were not
    committed now are: a fresh state would have a program of its own. Arrays spread over several devices stay there.
    """
    one = jax.tree.leaves(weights)[0]
    if isinstance(one, jax.core.Tracer):
        return state
    sharding = one.sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        sharding = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())

    def placed(leaf):
        if isinstance(leaf, jax.core.Tracer):
            return leaf
        spread = leaf.sharding.num_devices > 1 and leaf.sharding.device_set == sharding.device_set
        there = leaf.committed and (spread or leaf.sharding == sharding)
        return leaf if there else jax.device_put(leaf, sharding)

    return jax.tree.map(placed, state)


def still_done(done_B: jax.Array, nothing_new_B: np.ndarray) -> jax.Array:
    """Rows that had stopped and got no new token; as committed as `done_B` is, without a program of its own."""
    if isinstance(done_B, jax.core.Tracer):
        return done_B & nothing_new_B
    return jax.device_put(np.asarray(done_B) & nothing_new_B, done_B.sharding)
