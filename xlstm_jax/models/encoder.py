"""Stacks of blocks that read a sequence both ways, for tasks that have all of it: labels, translation, retrieval."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.autodiff import forward_mode
from xlstm_jax.checks import check_choice, check_dtype, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.stack import rematerialised
from xlstm_jax.nn import NORMS
from xlstm_jax.shapes import padding, steps_after_reset, zero_padding, zero_where

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
        check_choice("directions", directions, Directions)
        if directions == "alternate" and len(config.letters) < 2:
            raise UsageError("directions 'alternate' needs two blocks at least; give more, or directions='both'")
        self.directions, self.remat, dtype = directions, config.remat, check_dtype("Encoder", config.dtype)
        self.features = config.features
        self.forward_mode = config.forward_mode

        def stack():
            return nnx.List(BLOCKS.get(letter)(config, index, rngs=rngs) for index, letter in enumerate(config.letters))

        self.blocks = stack()
        self.backward_blocks = stack() if directions == "both" else None
        norm = NORMS[config.norm] if config.final_norm else None
        self.norm = norm and norm(config.features, eps=config.norm_eps, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x_BTD: jax.Array,
        lengths: jax.Array | None = None,
        *,
        reset: jax.Array | None = None,
        mask: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Features [B, T, D] of x [B, T, D].

        Args:
            x_BTD: what the first block reads.
            lengths: [B] ints; what is in the padding after them, even a NaN, reaches no other step and no gradient.
            reset: [B, T] bools, true where another document begins: each gives what it gives alone, in both directions.
            mask: [B, T] bools, false where a step is padding, anywhere in a row; instead of `lengths`. The blocks read
                the other steps one after the other, and outputs on padding are zero.
            key: draws dropout.

        Raises:
            UsageError: both a mask and lengths, or arrays that do not fit.
        """
        arrays = {"x_BTD": x_BTD, "lengths_B": lengths, "reset_BT": reset, "mask_BT": mask}
        x_BTD, lengths, reset, mask = checked("Encoder", {"D": self.features}, **arrays)
        if mask is not None:
            return self._masked(x_BTD, lengths, reset, mask, key)
        x_BTD = zero_padding(x_BTD, lengths)  # norms come before the blocks' own masks: 0 times a NaN is a NaN
        masks = {"lengths": lengths, "reset": reset}
        count = len(self.blocks)
        keys = [None] * (2 * count) if key is None else jax.random.split(key, 2 * count)
        for index, block in enumerate(self.blocks):
            turned = self.directions == "alternate" and index % 2 == 1
            forward = self._read(block, x_BTD, masks, keys[2 * index], turned)
            if self.backward_blocks is None:
                x_BTD = forward
            else:
                backward = self._read(self.backward_blocks[index], x_BTD, masks, keys[2 * index + 1], True)
                x_BTD = forward + backward - x_BTD  # each has its input in its sum
        return x_BTD if self.norm is None else self.norm(x_BTD)

    def _masked(self, x_BTD, lengths, reset, mask_BT, key):
        """Steps of the mask moved to the front, so that padding is on the right; their features at the old places."""
        if lengths is not None:
            raise UsageError("give a mask or lengths, not both; lengths are a mask that is false from each one on")
        padding_BT = padding(None, mask_BT, x_BTD.shape[:2])
        order_BT = jnp.argsort(padding_BT, axis=1, stable=True)
        if reset is not None:
            reset = taken(steps_after_reset(reset, padding_BT, holes=True), order_BT)
        lengths = jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
        y_BTD = self(taken(x_BTD, order_BT), lengths, reset=reset, key=key)
        return zero_where(padding_BT, taken(y_BTD, jnp.argsort(order_BT, axis=1)))

    def _read(self, block, x_BTD, masks, key, turned: bool):
        """A block over the sequence as it is, or from its end to its start."""
        block = rematerialised(block, self.remat)
        with forward_mode(self.forward_mode):
            if not turned:
                return block(x_BTD, None, **masks, key=key)[0]
            lengths, reset = masks["lengths"], masks["reset"]
            if reset is not None:
                padding_BT = padding(lengths, None, x_BTD.shape[:2])
                reset = turn(steps_after_reset(reset, padding_BT, reverse=True), lengths)
            y_BTD, _ = block(turn(x_BTD, lengths), None, lengths=lengths, reset=reset, key=key)
            return turn(y_BTD, lengths)


def turn(x_BT: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """[B, T, ...]: each sequence from its own end to its start; padding stays where it is."""
    if lengths is None:
        return jnp.flip(x_BT, axis=1)
    step_BT = jnp.broadcast_to(jnp.arange(x_BT.shape[1], dtype=jnp.int32)[None, :], x_BT.shape[:2])
    lengths_B1 = jnp.asarray(lengths, jnp.int32)[:, None]
    return taken(x_BT, jnp.where(step_BT < lengths_B1, lengths_B1 - 1 - step_BT, step_BT))


def taken(x_BT: jax.Array, index_BT: jax.Array) -> jax.Array:
    """[B, T, ...]: the steps of each row in the order of `index_BT`."""
    return jnp.take_along_axis(x_BT, index_BT.reshape(*index_BT.shape, *(1,) * (x_BT.ndim - 2)), axis=1)
