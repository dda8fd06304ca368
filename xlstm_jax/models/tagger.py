"""Taggers: words, their letters and their spelling, a stack in one or both directions, a CRF over the tags."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from xlstm_jax.config import Rate
from xlstm_jax.models.bilm import Enriched, EnrichedInput, MakeReader, with_states
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import replaced
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.models.words import WordInput, Words, WordsConfig
from xlstm_jax.nn import CRF


@dataclasses.dataclass(frozen=True)
class TaggerConfig(WordsConfig, name="model"):
    """A tagger of words."""

    kind: Literal["stack", "words"] = "stack"  # words: a baseline that looks at each word alone
    directions: Directions = "both"  # forward, alternate (every second block backward) or both
    output: Literal["crf", "softmax"] = "crf"  # softmax: no scores of transitions
    head_dropout: Rate = 0.0  # dropout rate of the stack's output


class Tagger(SequenceModel):
    """Emissions head(stack(input(words))) of a CRF: the BLSTM-CRF of Huang, Xu & Yu 2015, with any stack.

    Args:
        config: config of the stack and of the parts around it.
        words, letters, spelling: sizes of the input, see `WordInput`.
        tags: A, number of tags.
        allowed: what may follow what when decoding, see `nn.CRF`.
        unknown: the token that replaces dropped words in training.
        reader: makes a biLM whose states are read too, see `EnrichedInput`; None: none.
    """

    config: TaggerConfig

    def __init__(
        self,
        config: TaggerConfig,
        words: int,
        letters: int,
        spelling: int,
        tags: int,
        *,
        allowed: Sequence[np.ndarray],
        unknown: int,
        reader: MakeReader | None = None,
        rngs: nnx.Rngs,
    ):
        def embedding(rngs: nnx.Rngs) -> WordInput | EnrichedInput:
            own = WordInput(config, words, letters, spelling, rngs=rngs)
            return with_states(own, reader, config, rngs=rngs)

        super().__init__(
            config,
            embedding,
            lambda rngs: Head(config.features, tags, dtype=config.dtype, rngs=rngs),
            config.directions,
            rngs=rngs,
        )
        self.crf = CRF(tags, learned=config.output == "crf", allowed=allowed)
        self.dropped, self.unknown = nnx.Dropout(config.head_dropout), unknown

    def emissions(
        self, words: Words | Enriched, lengths: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """Scores [B, T, A] of each tag at each word, at least float32. Dropout is active if a `key` is given."""
        token_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        words = replaced(words, self.unknown, self.config.token_dropout, token_key)
        x_BTD, _ = self.hidden(words, lengths=lengths, key=key)
        return self.outputs(self.dropped(x_BTD, deterministic=head_key is None, rngs=head_key))


class WordTagger(nnx.Module):
    """A baseline: the scores of a word's tags depend on that word alone.

    Args:
        words: number of tokens.
        tags: A, number of tags.
        allowed: see `nn.CRF`.
    """

    def __init__(self, words: int, tags: int, *, allowed: Sequence[np.ndarray], rngs: nnx.Rngs):
        self.head = nnx.Embed(words, tags, embedding_init=nnx.initializers.zeros, rngs=rngs)
        self.crf = CRF(tags, learned=False, allowed=allowed)

    def emissions(self, words: Words, lengths: jax.Array | None = None, key: Any = None) -> jax.Array:
        """Scores [B, T, A] of each tag at each word."""
        del lengths, key
        return self.head(words.tokens_BT)
