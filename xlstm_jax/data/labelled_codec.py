"""The codec of labelled texts: words or characters to tokens, classes to names."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, get_args

import numpy as np

from xlstm_jax.data.codecs import Labels, Vocabulary
from xlstm_jax.data.labelled import Unit
from xlstm_jax.errors import UsageError, shown


class LabelledCodec:
    """Pieces of a text, which are words or characters, to tokens, and classes to names.

    Args:
        words: the known pieces.
        labels: in the order of the model's outputs.
        lowercase: whether pieces are looked up in lower case.
        unit: what a piece is.
    """

    kind: ClassVar[str]  # in the JSON

    def __init__(self, words: Vocabulary, labels: Labels, lowercase: bool, unit: Unit = "words"):
        self.words, self.labels, self.lowercase, self.unit = words, labels, lowercase, unit

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], labels: Labels, lowercase: bool, unit: Unit, *, least: int) -> Self:
        """The codec of texts for training, in pieces; those that occur less than `least` times are unknown."""
        plain = (map(str.lower, text) if lowercase else text for text in texts)
        return cls(Vocabulary.of(plain, least=least), labels, lowercase, unit)

    def to_json(self) -> dict[str, Any]:
        parts = {"words": self.words.to_json(), "labels": self.labels.to_json()}
        unit = {} if self.unit == "words" else {"unit": self.unit}
        return {"kind": self.kind, "lowercase": self.lowercase, **parts, **unit}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        good = isinstance(data, dict) and data.get("kind") == cls.kind and type(data.get("lowercase")) is bool
        if not good or data.get("unit", "words") not in get_args(Unit):
            raise UsageError(
                f"the codec is damaged; kind {cls.kind!r} needs words, labels, and lowercase, true or false"
            )
        words, labels = Vocabulary.from_json(data.get("words")), Labels.from_json(data.get("labels"))
        return cls(words, labels, data["lowercase"], data.get("unit", "words"))

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """[T] tokens, int32."""
        return self.words.encode(word.lower() for word in words) if self.lowercase else self.words.encode(words)

    def decode(self, tokens_T: np.ndarray) -> str:
        return self.words.decode(tokens_T, " " if self.unit == "words" else "")

    def numbers(self, split: str, labels: Sequence[str]) -> np.ndarray:
        """The classes [N], int32; `UsageError` for one that the training texts lack."""
        numbers = {name: number for number, name in enumerate(self.labels.names)}
        if unknown := [label for label in labels if label not in numbers]:
            raise UsageError(
                f"label {shown(unknown[0])} of split {split!r} is not one of the training labels: "
                f"{', '.join(numbers)}; correct it"
            )
        return np.array([numbers[label] for label in labels], np.int32)
