"""Language models. They predict the next token and can read a text in pieces or token by token."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.blocks.base import check_context
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.models.stack import Carry
from xlstm_jax.sharding import AXES


class LanguageModel(SequenceModel):
    """Embedding, blocks of `config.pattern`, norm, head: token logits [B, T, A]. Implements `generate.Decoder`."""

    config: ModelConfig

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        features, dtype = config.features, config.dtype

        def tokens(rngs: nnx.Rngs) -> Tokens:
            return Tokens(config.vocab_size, features, std=config.embedding_std, dtype=dtype, rngs=rngs)

        def head(rngs: nnx.Rngs) -> Head | None:
            if config.tie_embedding:
                return None
            return Head(features, config.vocab_size, cap=config.logit_softcap, dtype=dtype, rngs=rngs)

        super().__init__(config, tokens, head, rngs=rngs)

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def start(self, prompt_BT: jax.Array, lengths_B: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads the prompts; returns the carry and the logits [B, A] of the first token."""
        nothing_BA = jnp.zeros((prompt_BT.shape[0], self.vocab_size), jnp.float32)
        return self.read(prompt_BT, lengths_B, self.init_carry(prompt_BT.shape[0]), nothing_BA)

    def read(self, piece_BL: jax.Array, lengths_B: jax.Array, carry: Carry, logits_BA: jax.Array) -> tuple[Any, ...]:
        """Reads the next piece; returns the carry and the logits [B, A] after it. Rows of length 0 keep theirs."""
        x_BLD, carry = self.hidden(piece_BL, carry, lengths=lengths_B)
        last_B11 = jnp.maximum(lengths_B - 1, 0)[:, None, None]
        last_BA = self.outputs(jnp.take_along_axis(x_BLD, last_B11, axis=1)[:, 0])
        return carry, jnp.where((lengths_B > 0)[:, None], last_BA, logits_BA)

    def step(self, token_B: jax.Array, carry: Carry, live_B: jax.Array | None = None) -> tuple[jax.Array, Carry]:
        """Reads one token per row; returns the logits [B, A] and the carry. Rows with `live_B` 0 keep their carry."""
        logits_B1A, carry = self.unroll(token_B[:, None], carry, lengths=live_B)
        return logits_B1A[:, 0], carry


def build_model(config: ModelConfig, *, rngs: nnx.Rngs | None = None) -> LanguageModel:
    """Builds and initialises the language model of `config`. `rngs` defaults to seed 0.

    Raises:
        UsageError: sizes do not fit together, a block or cell is unknown, or the mesh in the context splits the
            sequence but a block needs all of it on one device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    check_context(config, math.prod(mesh.shape.get(axis, 1) for axis in AXES["time"]))
    return LanguageModel(config, rngs=nnx.Rngs(0) if rngs is None else rngs)
