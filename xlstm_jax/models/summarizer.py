"""Extractive summarizers: a score for each sentence of a document, from its words and the sentences around it."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, Rate
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head, pooled
from xlstm_jax.models.inputs import Tokens, of_each, replaced
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.models.stack import Stack


@dataclasses.dataclass(frozen=True)
class SummarizerConfig(StackConfig, name="model"):
    """A summarizer: one stack over the words of each sentence, and one like it over the sentences."""

    kind: Literal["stack", "lead"] = "stack"  # lead: a baseline that takes the first sentences
    directions: Directions = "both"  # forward, alternate (every second block backward) or both
    pooling: Literal["last", "mean", "max"] = "max"  # of a sentence's words: the last step, mean or max over the steps
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of words that training replaces with the unknown word
    head_dropout: Rate = 0.0  # dropout rate of the features of sentences


class SentenceWords(NamedTuple):
    """What a summarizer reads."""

    words_BSW: jax.Array
    words_in_BS: jax.Array  # number of words of each sentence
    key: jax.Array | None = None  # for dropout among the words


class SentenceInput(nnx.Module):
    """x_s = pool(stack(E[words of sentence s])).

    Args:
        config: of the summarizer.
        words: number of tokens.
    """

    def __init__(self, config: SummarizerConfig, words: int, *, rngs: nnx.Rngs):
        self.pooling = config.pooling
        self.tokens = Tokens(words, config.features, std=config.embedding_std, dtype=config.dtype, rngs=rngs)
        self.reader = Stack(config, config.directions, rngs=rngs)

    def __call__(self, sentences: SentenceWords, lengths: jax.Array | None = None) -> jax.Array:
        """Features [B, S, D] of the sentences; padding has no words."""
        del lengths

        def read(words_NW: jax.Array, lengths_N: jax.Array) -> jax.Array:
            x_NWD, _ = self.reader(self.tokens(words_NW, lengths_N), lengths=lengths_N, key=sentences.key)
            return pooled(x_NWD, lengths_N, self.pooling)

        return of_each(read, sentences.words_BSW, sentences.words_in_BS)


class Summarizer(SequenceModel):
    """score_s = w . stack(pool(stack(E[words]))): SummaRuNNer's two levels (Nallapati et al. 2017, arXiv 1611.04230).

    Args:
        config: config of both stacks and of the parts around them.
        words: number of tokens.
        unknown: the token that replaces dropped words in training.
    """

    config: SummarizerConfig

    def __init__(self, config: SummarizerConfig, words: int, *, unknown: int, rngs: nnx.Rngs):
        super().__init__(
            config,
            lambda rngs: SentenceInput(config, words, rngs=rngs),
            lambda rngs: Head(config.features, 1, dtype=config.dtype, rngs=rngs),
            config.directions,
            rngs=rngs,
        )
        self.dropped, self.unknown = nnx.Dropout(config.head_dropout), unknown

    def scores(
        self, words_BSW: jax.Array, words_in_BS: jax.Array, lengths_B: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """A score for each sentence [B, S], at least float32. Dropout is active if a `key` is given."""
        token_key, word_key, key, head_key = (None,) * 4 if key is None else jax.random.split(key, 4)
        words_BSW = replaced(words_BSW, self.unknown, self.config.token_dropout, token_key)
        x_BSD, _ = self.hidden(SentenceWords(words_BSW, words_in_BS, word_key), lengths=lengths_B, key=key)
        return self.outputs(self.dropped(x_BSD, deterministic=head_key is None, rngs=head_key))[..., 0]


class Lead(nnx.Module):
    """A baseline that takes the first sentences: score_s = -softplus(a) s, with one parameter a."""

    def __init__(self):
        self.head = nnx.Param(jnp.zeros((), jnp.float32))

    def scores(self, words_BSW: jax.Array, words_in_BS: jax.Array, lengths_B: jax.Array, key: Any = None) -> jax.Array:
        """A score for each sentence [B, S]."""
        del words_in_BS, lengths_B, key
        batch, most, _ = words_BSW.shape
        score_S = -jax.nn.softplus(self.head[...]) * jnp.arange(most, dtype=jnp.float32)
        return jnp.broadcast_to(score_S, (batch, most))
