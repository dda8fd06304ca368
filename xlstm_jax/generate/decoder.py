"""The interface that decoding needs from a model."""

from typing import Any, Protocol, runtime_checkable

import jax


class Decoder(Protocol):
    """A model that emits tokens one by one: a language model, or a model that reads another input first.

    The carry is any tree of arrays with the batch as first axis, such as a recurrent state and an encoder's memory.
    """

    vocab_size: int

    def start(self, prompt: Any, lengths: jax.Array) -> tuple[Any, jax.Array]:
        """Reads the prompts, `lengths` [B]; returns the carry and the logits [B, A] of the first token."""

    def step(self, token_B: jax.Array, carry: Any, live_B: jax.Array | None = None) -> tuple[jax.Array, Any]:
        """Reads one token per row; returns the logits [B, A] and the carry. Rows with `live_B` 0 keep their carry."""


@runtime_checkable
class Reader(Decoder, Protocol):
    """A decoder whose prompt consists of its own tokens, so that it can be read in pieces and continued."""

    def init_carry(self, batch: int) -> Any:
        """The carry before the first token."""

    def read(self, piece_BL: jax.Array, lengths_B: jax.Array, carry: Any, logits_BA: jax.Array) -> tuple[Any, ...]:
        """Reads the next piece; returns the carry and the logits [B, A] after it. Rows of length 0 keep theirs."""
