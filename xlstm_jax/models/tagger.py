"""Taggers: words, their letters and their spelling, a stack in one or both directions, a CRF over the tags."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, NonNegativeInt, Rate
from xlstm_jax.models.classifier import replaced
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features, Tokens, of_each
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.nn import CRF, Recurrent, linear, small_init


@dataclasses.dataclass(frozen=True)
class TaggerConfig(StackConfig, name="model"):
    """A tagger of words."""

    kind: Literal["stack", "words"] = "stack"  # words: a baseline that looks at each word alone
    directions: Directions = "both"  # forward, alternate (every second block backward) or both
    output: Literal["crf", "softmax"] = "crf"  # softmax: no scores of transitions
    letter_features: NonNegativeInt = 25  # of the LSTM over each word's letters, in each direction; 0: none
    spelling: bool = True  # read capitals, digits and punctuation, which the words in lower case lack
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of words that training replaces with the unknown word
    head_dropout: Rate = 0.0  # dropout rate of the stack's output


class Words(NamedTuple):
    """What a tagger reads."""

    tokens_BT: jax.Array
    letters_BTL: jax.Array  # 0 after a word's end
    spelling_BTF: jax.Array  # float32


class WordInput(nnx.Module):
    """x_t = E[token_t] + W [LSTM forward at the last letter, backward at the first] + V spelling_t.

    Lample et al. 2016 (arXiv 1603.01360) and Ma & Hovy 2016 read letters; Huang, Xu & Yu 2015 (arXiv 1508.01991) read
    spelling.

    Args:
        config: of the tagger.
        words, letters: numbers of tokens.
        spelling: F, numbers of spelling per word.
    """

    def __init__(self, config: TaggerConfig, words: int, letters: int, spelling: int, *, rngs: nnx.Rngs):
        features, width, dtype = config.features, config.letter_features, config.dtype
        self.tokens = Tokens(words, features, std=config.embedding_std, dtype=dtype, rngs=rngs)
        self.spelling = Features(spelling, features, dtype=dtype, rngs=rngs) if config.spelling else None
        self.letters = Tokens(letters, width, std=1.0, dtype=dtype, rngs=rngs) if width else None
        if width:
            self.reader = Recurrent("lstm", width, width, bidirectional=True, dtype=dtype, rngs=rngs)
            axes = {"axes": (None, "embed"), "dtype": dtype, "rngs": rngs}
            self.map = linear(2 * width, features, small_init(features), **axes)

    def __call__(self, words: Words, lengths: jax.Array | None = None) -> jax.Array:
        """Features [B, T, D] of the words."""
        x_BTD = self.tokens(words.tokens_BT, lengths)
        if self.letters is not None:
            x_BTD = x_BTD + self.map(self._read(words.letters_BTL))
        return x_BTD if self.spelling is None else x_BTD + self.spelling(words.spelling_BTF, lengths)

    def _read(self, letters_BTL: jax.Array) -> jax.Array:
        """The reader's outputs [B, T, 2 F] at the end of each word; zero for words without letters."""

        def ends(letters_NL: jax.Array, lengths_N: jax.Array) -> jax.Array:
            y_NLF, _ = self.reader(self.letters(letters_NL), lengths=lengths_N)
            forward_NLF, backward_NLF = jnp.split(y_NLF, 2, axis=2)
            last_N11 = jnp.maximum(lengths_N - 1, 0)[:, None, None]
            last_NF = jnp.take_along_axis(forward_NLF, last_N11, axis=1)[:, 0]
            return jnp.concatenate([last_NF, backward_NLF[:, 0]], axis=-1)

        return of_each(ends, letters_BTL, jnp.sum(letters_BTL > 0, axis=2, dtype=jnp.int32))


class Tagger(SequenceModel):
    """Emissions head(stack(input(words))) of a CRF: the BLSTM-CRF of Huang, Xu & Yu 2015, with any stack.

    Args:
        config: config of the stack and of the parts around it.
        words, letters, spelling: sizes of the input, see `WordInput`.
        tags: A, number of tags.
        allowed: what may follow what when decoding, see `nn.CRF`.
        unknown: the token that replaces dropped words in training.
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
        rngs: nnx.Rngs,
    ):
        super().__init__(
            config,
            lambda rngs: WordInput(config, words, letters, spelling, rngs=rngs),
            lambda rngs: Head(config.features, tags, dtype=config.dtype, rngs=rngs),
            config.directions,
            rngs=rngs,
        )
        self.crf = CRF(tags, learned=config.output == "crf", allowed=allowed)
        self.dropped, self.unknown = nnx.Dropout(config.head_dropout), unknown

    def emissions(self, words: Words, lengths: jax.Array | None = None, key: jax.Array | None = None) -> jax.Array:
        """Scores [B, T, A] of each tag at each word, at least float32. Dropout is active if a `key` is given."""
        token_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        tokens_BT = replaced(words.tokens_BT, self.unknown, self.config.token_dropout, token_key)
        x_BTD, _ = self.hidden(words._replace(tokens_BT=tokens_BT), lengths=lengths, key=key)
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
