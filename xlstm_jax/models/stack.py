"""A stack of blocks, the core of every model."""

import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.autodiff import forward_mode
from xlstm_jax.checks import check_choice, check_dtype, check_sizes, checked, outline
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Backward, BothWays, Directions, taken
from xlstm_jax.models.repeated import run_blocks, scannable, single
from xlstm_jax.nn import NORMS
from xlstm_jax.shapes import padding, steps_after_reset, zero_padding, zero_where
from xlstm_jax.sharding import ACTIVATIONS, constrain

Carry = tuple[Any, ...]


class Stack(nnx.Module):
    """The blocks of `config.layers` in sequence, then a norm: [B, T, D] to [B, T, D].

    Args:
        config: blocks, widths, norm, dropout and compilation options.
        directions: "forward" (each step sees the steps before it; a carry can be passed on); "alternate" (every second
            block reads from each sequence's end to its start, at no extra cost, as in Vision-LSTM, Alkin et al. 2024,
            arXiv 2406.04303); "both" (each layer has one block per direction, and their residual branches are summed).
            With "alternate" and "both" each step sees the whole sequence, and there is no carry.

    Raises:
        UsageError: a block or `directions` is unknown, sizes do not fit, or "alternate" has only one block.
    """

    def __init__(self, config: StackConfig, directions: Directions = "forward", *, rngs: nnx.Rngs):
        check_choice("directions", directions, Directions)
        dtype, layers = check_dtype(type(self).__name__, config.dtype), config.layers
        if directions == "alternate" and len(layers) < 2:
            raise UsageError("directions 'alternate' needs at least two blocks; add one, or use directions='both'")
        self.config, self.directions = config, directions
        blocks = [self._block(name, index, rngs) for index, name in enumerate(layers)]
        kinds = [(name, directions == "alternate" and index % 2) for index, name in enumerate(layers)]
        self.blocks = nnx.List(scannable(blocks, kinds) if config.scan_layers else blocks)
        norm = NORMS[config.norm] if config.final_norm else None
        self.norm = norm and norm(config.features, eps=config.norm_eps, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.dropout)

    def _block(self, name: str, index: int, rngs: nnx.Rngs) -> nnx.Module:
        block = BLOCKS.get(name)(self.config, index, rngs=rngs)
        if self.directions == "both":
            return BothWays(block, BLOCKS.get(name)(self.config, index, rngs=rngs))
        return Backward(block) if self.directions == "alternate" and index % 2 else block

    def init_carry(self, batch: int) -> Carry:
        """The carry before the first step, one entry per block.

        Raises:
            UsageError: the stack also reads backward, so it has no carry.
        """
        check_sizes(type(self).__name__, 0, batch=batch)
        if self.directions != "forward":
            raise UsageError(f"a model with directions {self.directions!r} has no carry; it needs the whole sequence")
        return tuple(block.init_carry(batch) for block in single(self.blocks))

    def __call__(
        self,
        x_BTD: jax.Array,
        carry: Carry | None = None,
        *,
        lengths: jax.Array | None = None,
        reset: jax.Array | None = None,
        mask: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carry | None]:
        """Returns features [B, T, D] and the carry after the last step, None if the stack has none.

        Args:
            x_BTD: input of the first block.
            carry: from `init_carry` or an earlier call; None means `init_carry`.
            lengths: [B] ints, for right padding. Padding does not change the carry. Its values, even NaN, do not affect
                other steps or gradients.
            reset: [B, T] bools, true at the first step of each document. Nothing passes between documents, in either
                direction.
            mask: [B, T] bools, false on padding, which may be anywhere in a row; use it instead of `lengths`. The
                blocks read the remaining steps as if adjacent. Outputs on padding are zero.
            key: random key for dropout; None: no dropout.

        Raises:
            UsageError: both a mask and lengths are given, or arrays do not fit.
        """
        name, arrays = type(self).__name__, {"x_BTD": x_BTD, "lengths_B": lengths, "reset_BT": reset, "mask_BT": mask}
        x_BTD, lengths, reset, mask = checked(name, {"D": self.config.features}, **arrays)
        if mask is not None:
            return self._masked(x_BTD, carry, lengths, reset, mask, key)
        depth = len(self.config.layers)
        carry = self._checked_carry(carry, depth)
        keys = [None] * (depth + 1) if key is None else jax.random.split(key, depth + 1)
        # A block's norm comes before its masking, and 0 * NaN is NaN.
        x_BTD = constrain(zero_padding(x_BTD, lengths), ACTIVATIONS)
        x_BTD = self.dropout(x_BTD, deterministic=key is None, rngs=keys[-1])
        masks = {"reset": reset, "lengths": lengths}
        with forward_mode(self.config.forward_mode):
            x_BTD, carry = run_blocks(self.blocks, x_BTD, carry, keys[:-1], remat=self.config.remat, **masks)
        x_BTD = x_BTD if self.norm is None else self.norm(x_BTD)
        return x_BTD, carry if self.directions == "forward" else None

    def layers(self, x_BTD: jax.Array, lengths: jax.Array | None = None) -> list[jax.Array]:
        """The features [B, T, D] before the first block and after each; after the last one, with the norm.

        There is no dropout, and nothing is passed on. The arguments are those of a call.
        """
        states = [zero_padding(x_BTD, lengths)]
        with forward_mode(self.config.forward_mode):
            for block in single(self.blocks):
                y_BTD, _ = run_blocks([block], states[-1], (None,), (None,), lengths=lengths, reset=None)
                states.append(y_BTD)
        return states if self.norm is None else [*states[:-1], self.norm(states[-1])]

    def _checked_carry(self, carry: Carry | None, depth: int) -> Carry:
        if carry is None:
            return (None,) * depth
        name = type(self).__name__
        if self.directions != "forward":
            raise UsageError(f"{name} got a carry; with directions {self.directions!r} it reads whole sequences")
        if type(carry) not in (tuple, list) or len(carry) != depth:
            raise UsageError(
                f"{name} got carry {outline(carry)}; wanted a tuple of {depth}, one for each block of "
                f"{self.config.pattern!r}, as from init_carry"
            )
        return carry

    def _masked(self, x_BTD, carry, lengths, reset, mask_BT, key):
        """Moves padding to the right, runs the stack, and moves the features back."""
        if lengths is not None:
            raise UsageError("mask and lengths are both given; give one")
        padding_BT = padding(None, mask_BT, x_BTD.shape[:2])
        order_BT = jnp.argsort(padding_BT, axis=1, stable=True)
        if reset is not None:
            reset = taken(steps_after_reset(reset, padding_BT, holes=True), order_BT)
        lengths = jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
        y_BTD, carry = Stack.__call__(self, taken(x_BTD, order_BT), carry, lengths=lengths, reset=reset, key=key)
        return zero_where(padding_BT, taken(y_BTD, jnp.argsort(order_BT, axis=1))), carry

    def unscanned(self) -> Self:
        """The same model without `config.scan_layers`.

        Use it for decoding: a scan copies each layer's parameters, which costs as much as using them for one token.
        """
        if not self.config.scan_layers:
            return self
        plain = nnx.clone(self)
        plain.config = dataclasses.replace(self.config, scan_layers=False)
        plain.blocks = nnx.List(single(self.blocks))
        return plain
