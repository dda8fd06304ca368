"""Codecs: convert raw input to arrays and results to readable form, for data other than running text.

A run saves its codec as JSON with a `kind`. Tokenizers (`data.text.tokenizers`) are codecs too.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from xlstm_jax.errors import UsageError, shown


class Symbols:
    """A fixed alphabet: token n is symbol n.

    Symbols in a text are separated by spaces. Single-character symbols may be written without spaces.
    """

    kind = "symbols"

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)
        self._tokens = {name: token for token, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(saved_names(data, cls.kind))

    def encode(self, text: str) -> np.ndarray:
        """[T] tokens, int32. Raises `UsageError` for an unknown symbol or an empty text."""
        parts = text.split()
        if len(parts) == 1 and parts[0] not in self._tokens:
            parts = list(parts[0])
        if not parts:
            raise UsageError("the input is empty; give at least one symbol")
        if unknown := [part for part in parts if part not in self._tokens]:
            known = " ".join(self.names[:40]) + (" ..." if len(self.names) > 40 else "")
            raise UsageError(f"symbol {shown(unknown[0])} is unknown; the symbols are {known}")
        return np.array([self._tokens[part] for part in parts], np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        return " ".join(self.names[token] for token in tokens)


class Numbers:
    """Sequences of real numbers, with `width` numbers per step."""

    kind = "numbers"

    def __init__(self, width: int):
        self.width = width

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "width": self.width}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != cls.kind or type(data.get("width")) is not int:
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs a width, an integer")
        return cls(data["width"])

    def encode(self, text: str) -> np.ndarray:
        """Parses a text into [T, width], float32.

        The text is a JSON list of numbers or of lists of `width` numbers, or numbers separated by spaces or commas.
        Flat numbers fill the steps in order.
        """
        try:
            written = text.strip()
            plain = f"[{','.join(written.replace(',', ' ').split())}]"
            array = np.asarray(json.loads(written if written.startswith("[") else plain), np.float32)
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"input {shown(text)} is not a list of numbers; give numbers or a JSON list") from error
        if array.ndim == 1 and array.size % self.width == 0:
            array = array.reshape(-1, self.width)
        if array.ndim != 2 or array.shape[1] != self.width or not len(array) or not np.isfinite(array).all():
            raise UsageError(
                f"input of shape {list(array.shape)} is not allowed; give finite numbers [steps, {self.width}], "
                "with at least one step"
            )
        return array

    def decode(self, values_TD: np.ndarray) -> str:
        return json.dumps(np.asarray(values_TD).tolist())


class Labels:
    """Class names, in the order of the model's outputs."""

    kind = "labels"

    def __init__(self, names: Iterable[str]):
        self.names = tuple(names)

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """The classes of training data; `UsageError` if there are fewer than two."""
        labels = cls(names)
        if len(labels) < 2:
            found = f"all have the class {shown(labels.names[0])}" if labels.names else "there are none"
            raise UsageError(f"the training examples do not differ in class: {found}; give examples of two or more")
        return labels

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(saved_names(data, cls.kind))

    def probabilities(self, logits_A: np.ndarray) -> dict[str, float]:
        """Softmax of the logits by class name, most probable first."""
        share_A = softmax(logits_A)
        return {self.names[index]: float(share_A[index]) for index in np.argsort(-share_A, kind="stable")}


class Levels:
    """Levels of the quantiles that a model predicts, increasing, between 0 and 1."""

    kind = "levels"

    def __init__(self, levels: Iterable[float]):
        self.levels = tuple(levels)

    def __len__(self) -> int:
        return len(self.levels)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "levels": list(self.levels)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        levels = data.get("levels") if isinstance(data, dict) and data.get("kind") == cls.kind else None
        numbers = isinstance(levels, list) and all(type(level) is float and 0 < level < 1 for level in levels)
        if not numbers or not levels or levels != sorted({*levels}):
            raise UsageError(
                f"the codec is damaged; kind {cls.kind!r} needs levels, increasing numbers between 0 and 1"
            )
        return cls(levels)

    def decode(self, values_T: np.ndarray) -> str:
        return json.dumps(np.asarray(values_T).tolist())


class Vocabulary:
    """Words as tokens: 0 is padding, 1 is any unknown word, then the words by frequency.

    Args:
        words: the known words, without padding and the unknown word.
    """

    kind = "vocabulary"
    UNKNOWN = 1

    def __init__(self, words: Iterable[str]):
        self.words = tuple(words)
        self._tokens = {word: token for token, word in enumerate(self.words, start=2)}

    @classmethod
    def of(cls, sentences: Iterable[Iterable[str]], *, least: int = 1) -> Self:
        """The words that occur at least `least` times, most frequent first; ties are in alphabetical order."""
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = (word for word, count in counts.items() if count >= least)
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    def __len__(self) -> int:
        return len(self.words) + 2

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": list(self.words)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(saved_names(data, cls.kind, "words"))

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """[T] tokens, int32."""
        return np.array([self._tokens.get(word, self.UNKNOWN) for word in words], np.int32)

    def decode(self, tokens: Iterable[int], separator: str = " ") -> str:
        return separator.join(("", "?", *self.words)[token] for token in tokens)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [..., A] of logits [..., A], float64."""
    logits = np.asarray(logits, np.float64)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def padded(rows: list[np.ndarray], *, multiple_of: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pads rows on the right with zeros to one array [B, T, ...]; returns it with the lengths [B], int32.

    T is the largest length, but at least 1, rounded up to a multiple of `multiple_of`.
    """
    lengths_B = np.array([len(row) for row in rows], np.int32)
    time = multiple_of * math.ceil(max(1, *lengths_B.tolist()) / multiple_of)
    array_BT = np.zeros((len(rows), time, *rows[0].shape[1:]), rows[0].dtype)
    for target_T, row in zip(array_BT, rows, strict=True):
        target_T[: len(row)] = row
    return array_BT, lengths_B


def power_of_two(length: int, least: int = 8) -> int:
    """The smallest power of two >= `length` and >= `least`. Few distinct lengths mean few compilations."""
    return max(least, 1 << (length - 1).bit_length())


def saved_names(data: Any, kind: str, field: str = "names") -> list[str]:
    """The names in a saved codec; `UsageError` if it is of another kind or damaged."""
    names = data.get(field) if isinstance(data, dict) and data.get("kind") == kind else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        raise UsageError(f"the codec is damaged; kind {kind!r} needs {field}, a list of distinct strings")
    return names
