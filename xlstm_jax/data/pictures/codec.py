"""The codec of captions: words in lower case as tokens, and the caption that is most frequent."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from xlstm_jax.data.codecs import Vocabulary
from xlstm_jax.data.labelled import split_words
from xlstm_jax.data.targets import TargetCodec, Words
from xlstm_jax.errors import UsageError

KIND = "captions"


class CaptionCodec(TargetCodec):
    """Captions to tokens.

    Args:
        words: those known; others are unknown words.
        commonest: the most frequent caption of the training data.
    """

    def __init__(self, words: Vocabulary, commonest: str):
        super().__init__(Words(words))
        self.commonest = commonest

    @classmethod
    def of(cls, captions: Sequence[str], *, least: int) -> Self:
        """The codec of captions for training; words that occur less than `least` times are unknown."""
        ((commonest, _),) = Counter(captions).most_common(1)
        return cls(Vocabulary.of((caption.split() for caption in captions), least=least), commonest)

    def to_json(self) -> dict[str, Any]:
        return {"kind": KIND, "words": self.target.to_json(), "commonest": self.commonest}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != KIND or not isinstance(data.get("commonest"), str):
            raise UsageError(f"the codec is damaged; kind {KIND!r} needs words, and the commonest caption")
        return cls(Vocabulary.from_json(data.get("words")), data["commonest"])


def plain(caption: str) -> str:
    """In lower case, with spaces between words and punctuation marks."""
    return " ".join(split_words(caption.lower()))
