"""Texts that a decoder writes, as tokens: words between spaces, a token before each text and one after it."""

from typing import Any, Protocol

import numpy as np

from xlstm_jax.data.codecs import Vocabulary


class Tokenizer(Protocol):
    """What turns a text into tokens and back; token 0 is padding."""

    vocab_size: int

    def to_json(self) -> dict[str, Any]: ...
    def encode(self, text: str) -> np.ndarray: ...
    def decode(self, tokens_T: np.ndarray) -> str: ...


class Words:
    """Words between spaces, as tokens of a vocabulary."""

    def __init__(self, words: Vocabulary):
        self._words = words
        self.vocab_size = len(words)

    def to_json(self) -> dict[str, Any]:
        return self._words.to_json()

    def encode(self, text: str) -> np.ndarray:
        return self._words.encode(text.split())

    def decode(self, tokens_T: np.ndarray) -> str:
        return self._words.decode(tokens_T)


class TargetCodec:
    """Texts to tokens. Token 0 is padding; after the texts' tokens come two: before a target, and after it.

    Args:
        target: the tokenizer of the texts.
    """

    def __init__(self, target: Tokenizer):
        self.target = target
        self.begin, self.end = target.vocab_size, target.vocab_size + 1
        self.vocab_size = target.vocab_size + 2

    def encode_target(self, text: str) -> np.ndarray:
        """[T] tokens of a target and the one after it, int32."""
        return np.append(self.target.encode(text).astype(np.int32), np.int32(self.end))

    def decode_target(self, tokens_T: np.ndarray) -> str:
        """The text of a target, up to the token after it; tokens that are no text are left out."""
        tokens_T = self.until_end(tokens_T)
        return self.target.decode(tokens_T[(tokens_T > 0) & (tokens_T < self.begin)])

    def until_end(self, tokens_T: np.ndarray) -> np.ndarray:
        """The tokens before the one after a target; all if it is not there."""
        tokens_T = np.asarray(tokens_T)
        ends = np.flatnonzero(tokens_T == self.end)
        return tokens_T[: ends[0]] if len(ends) else tokens_T

    def target_pieces(self, tokens_T: np.ndarray) -> list[str]:
        """See `pieces`."""
        return pieces(self.target, tokens_T)


def pieces(tokenizer: Tokenizer, tokens_T: np.ndarray) -> list[str]:
    """Each token's own text, for figures; "." for the tokens before and after a target."""
    return [tokenizer.decode(np.array([token])) if token < tokenizer.vocab_size else "." for token in tokens_T]
