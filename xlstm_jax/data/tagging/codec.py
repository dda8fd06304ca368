"""The codec of tagged sentences: words and letters to tokens, tags to numbers."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from xlstm_jax.data.codecs import Labels, Vocabulary
from xlstm_jax.data.tagging.batches import row_of
from xlstm_jax.data.tagging.columns import Tagged
from xlstm_jax.data.tagging.schemes import Scheme, all_tags, in_scheme, spans
from xlstm_jax.errors import UsageError, shown

KIND = "tagging"


class TaggingCodec:
    """Words are looked up in lower case, with 0 for each digit; letters as they are.

    Args:
        words, letters: those known; others are unknown words and letters.
        tags: in the order of the model's outputs.
        scheme: of the tags.
    """

    def __init__(self, words: Vocabulary, letters: Vocabulary, tags: Labels, scheme: Scheme):
        self.words, self.letters, self.tags, self.scheme = words, letters, tags, scheme
        self._numbers = {tag: number for number, tag in enumerate(tags.names)}

    @classmethod
    def of(cls, sentences: Iterable[Tagged], scheme: Scheme, *, least: int) -> Self:
        """The codec of sentences for training; words that occur less than `least` times are unknown."""
        sentences = list(sentences)
        kinds = sorted({kind for sentence in sentences for kind, _, _ in spans(sentence.tags)})
        words = Vocabulary.of((map(plain, sentence.words) for sentence in sentences), least=least)
        letters = Vocabulary.of(word for sentence in sentences for word in sentence.words)
        return cls(words, letters, Labels.of(all_tags(kinds, scheme)), scheme)

    def to_json(self) -> dict[str, Any]:
        parts = {"words": self.words.to_json(), "letters": self.letters.to_json(), "tags": self.tags.to_json()}
        return {"kind": KIND, "scheme": self.scheme, **parts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != KIND or data.get("scheme") not in ("iob2", "iobes"):
            raise UsageError(f"the codec is damaged; kind {KIND!r} needs words, letters, tags, and a scheme")
        words, letters = (Vocabulary.from_json(data.get(name)) for name in ("words", "letters"))
        return cls(words, letters, Labels.from_json(data.get("tags")), data["scheme"])

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """A row (`data.tagging.batches.row_of`) without tags."""
        return row_of(self.words.encode(map(plain, words)), words, self.letters, np.zeros(len(words), np.int32))

    def encode_tagged(self, sentence: Tagged, split: str) -> np.ndarray:
        """A row with tags; `UsageError` for a type of span that the training sentences lack."""
        tags = in_scheme(sentence.tags, self.scheme)
        if unknown := [tag for tag in tags if tag not in self._numbers]:
            kinds = sorted({name[2:] for name in self._numbers} - {""})
            raise UsageError(
                f"type {shown(unknown[0][2:])} in split {split!r} is not one of the training data's: "
                f"{', '.join(kinds)}; correct it, or add sentences with it to train.conll"
            )
        row_TF = self.encode(sentence.words)
        row_TF[:, 1] = [self._numbers[tag] for tag in tags]
        return row_TF

    def named(self, tags_T: np.ndarray) -> list[str]:
        """The names of tags."""
        return [self.tags.names[number] for number in tags_T]


def plain(word: str) -> str:
    """The form in which a word is looked up."""
    return re.sub(r"\d", "0", word.lower())
