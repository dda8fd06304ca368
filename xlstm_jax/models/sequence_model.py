"""An input, a stack of blocks and a head, which tasks put together."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Input
from xlstm_jax.models.stack import Carry, Stack


class SequenceModel(Stack):
    """A stack with an input before it and a head after it: outputs at each step.

    Calling the model gives the outputs from an empty carry; `unroll` takes and returns the carry, so that a sequence
    can be read in pieces; `hidden` gives the features before the head, for heads that need few steps or pool them.

    Args:
        config: of the stack.
        make_input: called with the random streams, before the blocks are made; see `models.inputs`.
        make_head: called with the random streams, after the blocks are made; see `models.heads`.
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
        """Outputs [B, T, A], at least float32; read forward, those at t see the inputs up to and including t."""
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
        """Outputs [B, T, A] and the carry after the last step: `outputs` of `hidden`.

        Args:
            inputs: what the model's input reads: tokens [B, T], real numbers [B, T, F], ...
            carry, reset, lengths, key: see `Stack`.
        """
        x_BTD, carry = self.hidden(inputs, carry, reset=reset, lengths=lengths, key=key)
        return self.outputs(x_BTD), carry

    def hidden(self, inputs, carry=None, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, Carry | None]:
        """What the head reads, [B, T, D], and the carry after the last step; arguments of `unroll`."""
        x_BTD = self.embedding(inputs, lengths)
        return super().__call__(x_BTD, carry, reset=reset, lengths=lengths, key=key)

    def outputs(self, x: jax.Array) -> jax.Array:
        """[..., A], at least float32, of features [..., D] that `hidden` gives."""
        return self.head(x)
