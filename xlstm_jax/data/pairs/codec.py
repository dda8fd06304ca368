"""The codec of pairs of texts: byte pairs or words as tokens, with a token before and one after each target."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np

from xlstm_jax.data.codecs import Vocabulary
from xlstm_jax.data.pairs.published import Pair
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.errors import UsageError

KIND = "pairs"
Unit = Literal["bpe", "words"]


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


class PairsCodec:
    """Texts to tokens. Token 0 is padding; after the texts' tokens come two: before a target, and after it.

    Args:
        source, target: tokenizers of one kind.
        unit: their kind.
    """

    def __init__(self, source: BPETokenizer | Words, target: BPETokenizer | Words, unit: Unit):
        self.source, self.target, self.unit = source, target, unit
        self.begin, self.end = target.vocab_size, target.vocab_size + 1
        self.vocab_size = target.vocab_size + 2

    @classmethod
    def of(cls, pairs: Sequence[Pair], unit: Unit, *, vocab_size: int, least: int) -> Self:
        """The codec of pairs for training.

        Args:
            vocab_size: of byte pairs, for each side.
            least: words that occur less often are unknown.
        """
        made = [_tokenizer((pair[side] for pair in pairs), unit, vocab_size, least) for side in (0, 1)]
        return cls(*made, unit)

    def to_json(self) -> dict[str, Any]:
        return {"kind": KIND, "unit": self.unit, "source": self.source.to_json(), "target": self.target.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        sides = [data.get(name) for name in ("source", "target")] if isinstance(data, dict) else []
        whole = sides and data.get("kind") == KIND and all(isinstance(side, dict) for side in sides)
        if not whole or data.get("unit") not in ("bpe", "words"):
            raise UsageError(f"the codec is damaged; kind {KIND!r} needs source, target, and a unit, bpe or words")
        if data["unit"] == "words":
            return cls(*(Words(Vocabulary.from_json(side)) for side in sides), "words")
        return cls(*map(BPETokenizer.from_json, sides), "bpe")

    def encode(self, text: str) -> np.ndarray:
        """[S] tokens of a source, int32."""
        return self.source.encode(text).astype(np.int32)

    def encode_target(self, text: str) -> np.ndarray:
        """[T] tokens of a target and the one after it, int32."""
        return np.append(self.target.encode(text).astype(np.int32), np.int32(self.end))

    def decode(self, tokens_S: np.ndarray) -> str:
        """The text of a source; padding is left out."""
        tokens_S = np.asarray(tokens_S)
        return self.source.decode(tokens_S[tokens_S > 0])

    def pieces(self, tokens_T: np.ndarray, *, target: bool) -> list[str]:
        """Each token's own text, for figures; "." for the end of a target."""
        side = self.target if target else self.source
        return [side.decode(np.array([token])) if token < side.vocab_size else "." for token in tokens_T]

    def decode_target(self, tokens_T: np.ndarray) -> str:
        """The text of a target, up to the token after it; tokens that are no text are left out."""
        tokens_T = np.asarray(tokens_T)
        ends = np.flatnonzero(tokens_T == self.end)
        tokens_T = tokens_T[: ends[0]] if len(ends) else tokens_T
        return self.target.decode(tokens_T[(tokens_T > 0) & (tokens_T < self.begin)])


def _tokenizer(texts: Iterable[str], unit: Unit, vocab_size: int, least: int) -> BPETokenizer | Words:
    if unit == "bpe":
        return BPETokenizer.from_text("\n".join(texts), vocab_size=vocab_size)
    return Words(Vocabulary.of((text.split() for text in texts), least=least))
