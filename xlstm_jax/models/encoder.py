"""Stacks of blocks that read a sequence both ways, for tasks that have all of it: labels, translation, retrieval."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.autodiff import forward_mode
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.stack import rematerialised
from xlstm_jax.nn import NORMS

Directions = Literal["alternate", "both"]


class Encoder(nnx.Module):
    """Features [B, T, D] in which every step sees the whole sequence: blocks of `config.pattern`, a final norm.

    With `directions` "alternate" every second block reads from each sequence's end to its start, at no further cost
    (as in Vision-LSTM, Alkin et al. 2024, arXiv 2406.04303); with "both" each layer has a block for either direction,
    and what the two add to their input is summed. Any block of `BLOCKS` will do; the embedding is the caller's.

    Raises:
        UsageError: unknown directions, or a single block that would read one way alone.
    """

    def __init__(self, config: ModelConfig, *, directions: Directions = "alternate", rngs: nnx.Rngs):
        if directions not in Directions.__args__:
            raise UsageError(f"directions {directions!r} is unknown; allowed: {', '.join(Directions.__args__)}")
        if directions == "alternate" and len(config.letters) < 2:
            raise UsageError("directions 'alternate' needs two blocks at least; give more, or directions='both'")
        self.directions, self.remat, dtype = directions, config.remat, jnp.dtype(config.dtype)
        self.forward_mode = config.forward_mode

        def stack():
            return nnx.List(BLOCKS.get(letter)(config, index, rngs=rngs) for index, letter in enumerate(config.letters))

        self.blocks = stack()
        self.backward_blocks = stack() if directions == "both" else None
        norm = NORMS[config.norm] if config.final_norm else None
        self.norm = norm and norm(config.features, eps=config.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(
        self, x_BTD: jax.Array, lengths: jax.Array | None = None, *, key: jax.Array | None = None
    ) -> jax.Array:
        """Features [B, T, D] of x [B, T, D]; right padding after `lengths` [B] changes nothing. `key` draws dropout."""
        count = len(self.blocks)
        keys = [None] * (2 * count) if key is None else jax.random.split(key, 2 * count)
        for index, block in enumerate(self.blocks):
            turned = self.directions == "alternate" and index % 2 == 1
            forward = self._read(block, x_BTD, lengths, keys[2 * index], turned)
            if self.backward_blocks is None:
                x_BTD = forward
            else:
                backward = self._read(self.backward_blocks[index], x_BTD, lengths, keys[2 * index + 1], True)
                x_BTD = forward + backward - x_BTD  # each has its input in its sum
        return x_BTD if self.norm is None else self.norm(x_BTD)

    def _read(self, block, x_BTD, lengths, key, turned: bool):
        """A block over the sequence as it is, or from its end to its start."""
        block = rematerialised(block, self.remat)
        with forward_mode(self.forward_mode):
            if not turned:
                return block(x_BTD, None, lengths=lengths, key=key)[0]
            y_BTD, _ = block(turn(x_BTD, lengths), None, lengths=lengths, key=key)
            return turn(y_BTD, lengths)


def turn(x_BTD: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Each sequence from its own end to its start; padding stays where it is."""
    if lengths is None:
        return jnp.flip(x_BTD, axis=1)
    step_BT = jnp.broadcast_to(jnp.arange(x_BTD.shape[1], dtype=jnp.int32)[None, :], x_BTD.shape[:2])
    lengths_B1 = jnp.asarray(lengths, jnp.int32)[:, None]
    index_BT = jnp.where(step_BT < lengths_B1, lengths_B1 - 1 - step_BT, step_BT)
    return jnp.take_along_axis(x_BTD, index_BT[..., None], axis=1)
