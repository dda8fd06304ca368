"""Blocks that read sequences backward, or in both directions."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.blocks.base import Block
from xlstm_jax.shapes import padding, steps_after_reset

Directions = Literal["forward", "alternate", "both"]


class Backward(nnx.Module):
    """Runs a block from each sequence's own end to its start. It has no carry."""

    def __init__(self, block: Block):
        self.block = block

    def init_carry(self, batch: int) -> None:
        del batch

    def __call__(self, x_BTD: jax.Array, carry: None, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, None]:
        del carry
        if reset is not None:
            padding_BT = padding(lengths, None, x_BTD.shape[:2])
            reset = turned(steps_after_reset(reset, padding_BT, reverse=True), lengths)
        y_BTD, _ = self.block(turned(x_BTD, lengths), None, lengths=lengths, reset=reset, key=key)
        return turned(y_BTD, lengths), None


class BothWays(nnx.Module):
    """Two blocks over the same input, one in each direction. Their residual branches are summed.

    For blocks without a residual connection, such as a plain recurrent layer, the outputs are summed.
    """

    def __init__(self, forward: Block, backward: Block):
        self.forward, self.backward = forward, Backward(backward)
        self.residual = getattr(forward, "residual", True)

    def init_carry(self, batch: int) -> None:
        del batch

    def __call__(self, x_BTD: jax.Array, carry: None, *, key=None, **masks: Any) -> tuple[jax.Array, None]:
        del carry
        keys = (None, None) if key is None else jax.random.split(key)
        forward_BTD, _ = self.forward(x_BTD, None, key=keys[0], **masks)
        backward_BTD, _ = self.backward(x_BTD, None, key=keys[1], **masks)
        both_BTD = forward_BTD + backward_BTD
        return both_BTD - x_BTD if self.residual else both_BTD, None


def turned(x_BT: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Reverses each sequence of x [B, T, ...] within its length; padding stays in place."""
    if lengths is None:
        return jnp.flip(x_BT, axis=1)
    step_BT = jnp.broadcast_to(jnp.arange(x_BT.shape[1], dtype=jnp.int32)[None, :], x_BT.shape[:2])
    lengths_B1 = jnp.asarray(lengths, jnp.int32)[:, None]
    return taken(x_BT, jnp.where(step_BT < lengths_B1, lengths_B1 - 1 - step_BT, step_BT))


def taken(x_BT: jax.Array, index_BT: jax.Array) -> jax.Array:
    """The steps of each row of x [B, T, ...] in the order of `index_BT`."""
    return jnp.take_along_axis(x_BT, index_BT.reshape(*index_BT.shape, *(1,) * (x_BT.ndim - 2)), axis=1)
