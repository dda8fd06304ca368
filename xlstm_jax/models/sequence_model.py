"""A model with an input layer, a stack of blocks and a head."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head, capped
from xlstm_jax.models.inputs import Input
from xlstm_jax.models.stack import Carry, Stack


class SequenceModel(Stack):
    """An input layer, a stack and a head, with outputs at each step.

    Calling the model starts from an empty carry. `unroll` takes and returns the carry, so that a sequence can be read
    in pieces. `hidden` returns the features before the head, for heads that need few steps or pool them.

    Args:
        config: config of the stack.
        make_input: makes the input layer (`models.inputs`) from the random streams, before the blocks are made.
        make_head: makes the head (`models.heads`) from the random streams, after the blocks are made; None for the
            transposed token embedding.
        directions: see `Stack`.
    """

    def __init__(
        self,
        config: StackConfig,
        make_input: Callable[[nnx.Rngs], Input],
        make_head: Callable[[nnx.Rngs], Head | None],
        directions: Directions = "forward",
        *,
        rngs: nnx.Rngs,
    ):
        self.embedding = make_input(rngs)
        super().__init__(config, directions, rngs=rngs)
        self.head = make_head(rngs)

    def __call__(self, inputs: Any, lengths: jax.Array | None = None) -> jax.Array:
        """Outputs [B, T, A], at least float32. With directions "forward", step t sees the inputs at steps <= t."""
        return self.unroll(inputs, lengths=lengths)[0]

    def unroll(
        self,
        inputs: Any,
        carry: Carry | None = None,
        *,
        reset: jax.Array | None = None,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carry | None]:
        """Returns outputs [B, T, A] and the carry after the last step: `outputs` of `hidden`.

        Args:
            inputs: input of the model's input layer: tokens [B, T], real numbers [B, T, F], ...
            carry, reset, lengths, key: see `Stack`.
        """
        x_BTD, carry = self.hidden(inputs, carry, reset=reset, lengths=lengths, key=key)
        return self.outputs(x_BTD), carry

    def hidden(self, inputs, carry=None, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, Carry | None]:
        """Returns the head's input [B, T, D] and the carry after the last step; arguments as in `unroll`."""
        x_BTD = self.embedding(inputs, lengths)
        return super().__call__(x_BTD, carry, reset=reset, lengths=lengths, key=key)

    def outputs(self, x: jax.Array) -> jax.Array:
        """Maps features [..., D] of `hidden` to outputs [..., A], at least float32."""
        if self.head is not None:
            return self.head(x)
        return capped(self.embedding.attend(x), self.config.logit_softcap)
