"""The codec of tagged sentences: words and letters to tokens, tags to numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from xlstm_jax.data.codecs import Labels, Vocabulary
from xlstm_jax.data.tagging.batches import row_of
from xlstm_jax.data.tagging.columns import Tagged
from xlstm_jax.data.tagging.schemes import Scheme, all_tags, in_scheme, spans
from xlstm_jax.data.words import LentReader, Lexicon
from xlstm_jax.errors import UsageError, shown

KIND = "tagging"


class TaggingCodec:
    """Words and letters to tokens, tags to numbers.

    Args:
        lexicon: the known words and letters.
        tags: in the order of the model's outputs.
        scheme: of the tags.
        lent: the biLM whose states the model reads too, or None.
    """

    def __init__(self, lexicon: Lexicon, tags: Labels, scheme: Scheme, lent: LentReader | None = None):
        self.lexicon, self.tags, self.scheme, self.lent = lexicon, tags, scheme, lent
        self._numbers = {tag: number for number, tag in enumerate(tags.names)}

    @classmethod
    def of(cls, sentences: Iterable[Tagged], scheme: Scheme, *, least: int, lent: LentReader | None = None) -> Self:
        """The codec of sentences for training; words that occur less than `least` times are unknown."""
        sentences = list(sentences)
        kinds = sorted({kind for sentence in sentences for kind, _, _ in spans(sentence.tags)})
        lexicon = Lexicon.of([sentence.words for sentence in sentences], least=least)
        return cls(lexicon, Labels.of(all_tags(kinds, scheme)), scheme, lent)

    @property
    def words(self) -> Vocabulary:
        return self.lexicon.words

    @property
    def letters(self) -> Vocabulary:
        return self.lexicon.letters

    def to_json(self) -> dict[str, Any]:
        parts = {"words": self.words.to_json(), "letters": self.letters.to_json(), "tags": self.tags.to_json()}
        lent = {"bilm": self.lent.to_json()} if self.lent else {}
        return {"kind": KIND, "scheme": self.scheme, **parts, **lent}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != KIND or data.get("scheme") not in ("iob2", "iobes"):
            raise UsageError(f"the codec is damaged; kind {KIND!r} needs words, letters, tags, and a scheme")
        lexicon = Lexicon(*(Vocabulary.from_json(data.get(name)) for name in ("words", "letters")))
        lent = LentReader.from_json(data.get("bilm"))
        return cls(lexicon, Labels.from_json(data.get("tags")), data["scheme"], lent)

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """A row (`data.tagging.batches.row_of`) without tags."""
        bilm_TW = self.lent.lexicon.encode(words) if self.lent else None
        return row_of(self.lexicon.encode(words), np.zeros(len(words), np.int32), bilm_TW)

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
