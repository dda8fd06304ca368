"""Words as a model sees them: a token each, their letters, and how they are spelt."""

import functools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from xlstm_jax.data.codecs import Vocabulary, padded
from xlstm_jax.errors import UsageError

MOST_LETTERS = 20  # of a word; of a longer one, the first and the last half of them
REMEMBERED = 1 << 16  # different words whose rows are kept


def spelling(word: str) -> tuple[bool, ...]:
    """What a word in lower case does not show any more, after Huang, Xu & Yu 2015 (arXiv 1508.01991), section 4.2."""
    letters = [character for character in word if character.isalpha()]
    upper = [letter.isupper() for letter in letters]
    return (
        word[:1].isupper(),
        bool(letters) and all(upper),
        any(character.isupper() for character in word[1:]) and not all(upper),
        any(character.isdigit() for character in word),
        all(character.isdigit() or character in ".,:/-" for character in word),
        not letters,
        any(not character.isalnum() for character in word),
        any(ord(character) > 127 for character in word),
    )


FEATURES = len(spelling("word"))
WIDTH = 1 + MOST_LETTERS + FEATURES


def plain(word: str) -> str:
    """The form in which a word is looked up."""
    return re.sub(r"\d", "0", word.lower())


class Lexicon:
    """Words are looked up in lower case, with 0 for each digit; letters as they are.

    Args:
        words, letters: those known; others are unknown words and letters.
    """

    kind = "lexicon"

    def __init__(self, words: Vocabulary, letters: Vocabulary):
        self.words, self.letters = words, letters
        self._row = functools.lru_cache(maxsize=REMEMBERED)(self._new_row)

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]], *, least: int) -> Self:
        """The words that occur at least `least` times in sentences for training, and all their letters."""
        words = Vocabulary.of((map(plain, sentence) for sentence in sentences), least=least)
        return cls(words, Vocabulary.of(word for sentence in sentences for word in sentence))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "words": self.words.to_json(), "letters": self.letters.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        if not isinstance(data, dict) or data.get("kind") != cls.kind:
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs words and letters")
        return cls(*(Vocabulary.from_json(data.get(name)) for name in ("words", "letters")))

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """[T, WIDTH], int32: token, letters (0 after a word's end) and spelling of each word."""
        rows = [self._row(word) for word in words]
        return np.stack(rows) if rows else np.zeros((0, WIDTH), np.int32)

    def _new_row(self, word: str) -> np.ndarray:
        half, row_W = MOST_LETTERS // 2, np.zeros(WIDTH, np.int32)
        letters = word if len(word) <= MOST_LETTERS else word[:half] + word[-half:]
        row_W[0] = self.words.encode([plain(word)])[0]
        row_W[1 : 1 + len(letters)] = self.letters.encode(letters)
        row_W[1 + MOST_LETTERS :] = spelling(word)
        return row_W

    def decode(self, words_TW: np.ndarray) -> str:
        """A JSON list of the words by their letters; the middle of words of more than `MOST_LETTERS` is lost."""
        letters_TL = words_TW[:, 1 : 1 + MOST_LETTERS]
        return json.dumps([self.letters.decode(row_L[row_L > 0], "") for row_L in letters_TL], ensure_ascii=False)


class LentReader(NamedTuple):
    """What a bidirectional language model reads, and how it was built: what another task's codec keeps of it."""

    lexicon: Lexicon
    model: dict[str, Any]  # the section `model` of its run

    def to_json(self) -> dict[str, Any]:
        return {"lexicon": self.lexicon.to_json(), "model": self.model}

    @classmethod
    def from_json(cls, data: Any) -> Self | None:
        """The inverse of `to_json`; None of None, which stands for no model."""
        if data is None:
            return None
        if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
            raise UsageError("the codec is damaged; its bilm needs a lexicon, and a section model")
        return cls(Lexicon.from_json(data.get("lexicon")), data["model"])


class WordRows(NamedTuple):
    """A batch of sentences."""

    words_BTW: np.ndarray  # int32, see `Lexicon.encode`; 0 in the padding
    lengths_B: np.ndarray  # int32, 0 in padding rows


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> WordRows:
    """A batch of rows from `Lexicon.encode`, without labels."""
    del labels
    return WordRows(*padded(rows, multiple_of=multiple_of))
