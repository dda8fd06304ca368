"""Words as inputs: embeddings, an LSTM over the letters of each word, and how words are spelt."""

import dataclasses
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, NonNegativeInt, Rate
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.inputs import Features, Tokens, of_each
from xlstm_jax.nn import Recurrent, linear, small_init


@dataclasses.dataclass(frozen=True)
class WordsConfig(StackConfig, name="model"):
    """A stack that reads words."""

    letter_features: NonNegativeInt = 25  # of the LSTM over each word's letters, in each direction; 0: none
    spelling: bool = True  # read capitals, digits and punctuation, which the words in lower case lack
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of words that training replaces with the unknown word


class Words(NamedTuple):
    """What a model of words reads."""

    tokens_BT: jax.Array
    letters_BTL: jax.Array  # 0 after a word's end
    spelling_BTF: jax.Array  # float32

    @classmethod
    def of(cls, words_BTW: jax.Array, spelling: int) -> Self:
        """The parts of one array of integers: token, letters, and that many numbers of spelling."""
        tokens_BT, letters_BTL = words_BTW[..., 0], words_BTW[..., 1:-spelling]
        return cls(tokens_BT, letters_BTL, words_BTW[..., -spelling:].astype(jnp.float32))


class WordInput(nnx.Module):
    """x_t = E[token_t] + W [LSTM forward at the last letter, backward at the first] + V spelling_t.

    Lample et al. 2016 (arXiv 1603.01360) and Ma & Hovy 2016 read letters; Huang, Xu & Yu 2015 (arXiv 1508.01991) read
    spelling.

    Args:
        config: width of the features, and what is read.
        words, letters: numbers of tokens.
        spelling: F, numbers of spelling per word.
    """

    def __init__(self, config: WordsConfig, words: int, letters: int, spelling: int, *, rngs: nnx.Rngs):
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
