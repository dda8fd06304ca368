"""The state from which generation continues, and its placement on devices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.generate.decoder import Reader
from xlstm_jax.generate.options import check_options


class GenerationState(NamedTuple):
    """Everything needed to continue the texts. Its size does not grow with their length."""

    carry: Any  # the model's carry after the last token of each row
    logits_BA: jax.Array  # of the next token
    key: jax.Array  # of all draws; draw number n uses fold_in(key, n)
    step: jax.Array  # int32, number of draws so far
    done_B: jax.Array  # bool, true if the row's last token was a stop token


def init_state(model: Reader, batch: int, seed: int = 0) -> GenerationState:
    """The state of `batch` rows before their first token. Its logits are meaningless until a prompt is read.

    Raises:
        UsageError: the seed is outside its range.
    """
    return state_of(model.init_carry(batch), jnp.zeros((batch, model.vocab_size), jnp.float32), seed)


def state_of(carry: Any, logits_BA: jax.Array, seed: int = 0) -> GenerationState:
    """The state after a prompt, before the first draw, from the prompt's carry and logits.

    Raises:
        UsageError: the seed is outside its range.
    """
    check_options(seed=seed)
    # A key uses 32 bits of an integer and silently drops the rest.
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
    """Commits the state to the weights' devices.

    A program's outputs are committed if its arguments are, and JAX compiles again when uncommitted arguments become
    committed: a fresh state would cost an extra compilation. Arrays sharded over these devices stay as they are.
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
        if not isinstance(leaf, jax.Array):
            return jax.device_put(leaf, sharding)
        spread = leaf.sharding.num_devices > 1 and leaf.sharding.device_set == sharding.device_set
        there = leaf.committed and (spread or leaf.sharding == sharding)
        return leaf if there else jax.device_put(leaf, sharding)

    return jax.tree.map(placed, state)


def still_done(done_B: jax.Array, nothing_new_B: np.ndarray) -> jax.Array:
    """Rows that had stopped and got no new token, with the sharding of `done_B`; compiles nothing."""
    if isinstance(done_B, jax.core.Tracer):
        return done_B & nothing_new_B
    return jax.device_put(np.asarray(done_B) & nothing_new_B, done_B.sharding)
