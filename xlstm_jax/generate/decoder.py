"""What decoding asks of a model."""

from typing import Any, Protocol, runtime_checkable

import jax


class Decoder(Protocol):
    """A model that emits one token after another: a language model, or one that first reads something else.

    The carry may be any tree of arrays whose first axis is the batch, such as a recurrent state together with the
    memory of an encoder.
    """

    vocab_size: int

    def start(self, prompt: Any, lengths: jax.Array) -> tuple[Any, jax.Array]:
        """The carry, and the logits [B, A] of the first token, after the prompt of each row and its length [B]."""

    def step(self, token_B: jax.Array, carry: Any, live_B: jax.Array | None = None) -> tuple[jax.Array, Any]:
        """Logits [B, A] after one more token, and the carry; rows with `live_B` 0 keep their carry."""


@runtime_checkable
class Reader(Protocol):
    """A decoder whose prompt is text of the same kind, which can be read in pieces and continued."""

    def init_carry(self, batch: int) -> Any:
        """The carry before the first token."""

    def read(self, piece_BL: jax.Array, lengths_B: jax.Array, carry: Any, logits_BA: jax.Array) -> tuple[Any, ...]:
        """The carry after a further piece, and the logits [B, A] after it; a row of length 0 keeps its own."""
