"""The codec of pairs of texts: byte pairs or words as tokens, with a token before and one after each target."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np

from xlstm_jax.data.codecs import Vocabulary
from xlstm_jax.data.pairs.published import Pair
from xlstm_jax.data.targets import TargetCodec, Words, pieces
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.errors import UsageError

KIND = "pairs"
Unit = Literal["bpe", "words"]


class PairsCodec(TargetCodec):
    """Sources and targets to tokens.

    Args:
        source, target: tokenizers of one kind.
        unit: their kind.
    """

    def __init__(self, source: BPETokenizer | Words, target: BPETokenizer | Words, unit: Unit):
        super().__init__(target)
        self.source, self.unit = source, unit

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

    def decode(self, tokens_S: np.ndarray) -> str:
        """The text of a source; padding is left out."""
        tokens_S = np.asarray(tokens_S)
        return self.source.decode(tokens_S[tokens_S > 0])

    def pieces(self, tokens_T: np.ndarray, *, target: bool) -> list[str]:
        """Each token's own text, for figures; "." for the end of a target."""
        return pieces(self.target if target else self.source, tokens_T)


def _tokenizer(texts: Iterable[str], unit: Unit, vocab_size: int, least: int) -> BPETokenizer | Words:
    if unit == "bpe":
        return BPETokenizer.from_text("\n".join(texts), vocab_size=vocab_size)
    return Words(Vocabulary.of((text.split() for text in texts), least=least))
