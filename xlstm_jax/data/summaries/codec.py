"""The codec of documents: the words of their sentences to tokens."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from xlstm_jax.data.codecs import Vocabulary
from xlstm_jax.data.labelled import split_words
from xlstm_jax.data.summaries.documents import Document
from xlstm_jax.errors import UsageError

KIND = "summary"


class SummaryCodec:
    """Words are looked up in lower case.

    Args:
        words: those known.
    """

    def __init__(self, words: Vocabulary):
        self.words = words

    @classmethod
    def of(cls, documents: Iterable[Document], *, least: int) -> Self:
        """The codec of documents for training; words that occur less than `least` times are unknown."""
        sentences = (sentence for document in documents for sentence in document.sentences)
        return cls(Vocabulary.of((split_words(sentence.lower()) for sentence in sentences), least=least))

    def to_json(self) -> dict[str, Any]:
        return {"kind": KIND, "words": self.words.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise UsageError(f"the codec is damaged; kind {KIND!r} needs words")
        return cls(Vocabulary.from_json(data.get("words")))

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Tokens of each sentence, int32."""
        return [self.words.encode(split_words(sentence.lower())) for sentence in sentences]

    def decode(self, words_SW: np.ndarray) -> str:
        """A JSON list of the sentences."""
        return json.dumps([self.words.decode(token for token in words_W if token) for words_W in words_SW])
