"""Encoders, which read a source for a decoder (`models.seq2seq`)."""

from typing import Any, Protocol

import jax
from flax import nnx

from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.inputs import Input
from xlstm_jax.models.stack import Stack


class Encoder(Protocol):
    """Reads a source; returns features [B, S, D] and, if it has one that a decoder can start from, a carry."""

    def __call__(
        self, source: Any, lengths: jax.Array | None = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]: ...


class StackEncoder(nnx.Module):
    """stack(input(source)); the carry is that of a stack that reads forward.

    Args:
        config: of the stack.
        embedding: the input layer (`models.inputs`).
        directions: see `Stack`.
    """

    def __init__(self, config: StackConfig, embedding: Input, directions: Directions, *, rngs: nnx.Rngs):
        self.embedding, self.stack = embedding, Stack(config, directions, rngs=rngs)

    def __call__(self, source: Any, lengths: jax.Array | None = None, key: Any = None) -> tuple[jax.Array, Any]:
        """Features [B, S, D] and the carry; see `Encoder`."""
        return self.stack(self.embedding(source, lengths), lengths=lengths, key=key)
