"""Tokenizers: text to integers and back. Bytes and characters are here; `bpe` has byte-pair encoding."""

from typing import Protocol, Self

import numpy as np

from xlstm_jax.data.text.documents import Document
from xlstm_jax.errors import UsageError
from xlstm_jax.registry import Registry

VOCAB_SIZE = 4096  # default


class Tokenizer(Protocol):
    """The interface of tokenizers. `kind` is the registered name; the JSON form includes it."""

    kind: str
    closed: bool  # whether unseen characters have no token; such a tokenizer is made from all splits
    end_token: int | None  # added after each document; has no bytes
    prefix: tuple[int, ...]  # tokens added before each text, such as a begin token; they have no bytes
    suffix: tuple[int, ...]  # tokens added after each text; if not empty, they replace the end token
    changes: str | None  # what may change a text, for messages; "": unknown; None: never changes a text

    @classmethod
    def from_text(cls, *texts: str | Document, vocab_size: int = VOCAB_SIZE) -> Self:
        """Makes the tokenizer from training documents; kinds with a fixed vocabulary ignore `vocab_size`."""

    @classmethod
    def from_json(cls, data: dict) -> Self:
        """The inverse of `to_json`; raises `UsageError` for invalid data."""

    def to_json(self) -> dict: ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens, A."""

    @property
    def bytes_per_token(self) -> np.ndarray:
        """[A] int32, number of UTF-8 bytes of each token; converts nats per token to bits per byte."""

    def encode(self, text: str, *, special: bool = False) -> np.ndarray:
        """[T] tokens in the smallest unsigned dtype that holds A - 1, without prefix and suffix.

        With `special`, names of special tokens are encoded as these tokens, otherwise as ordinary text.
        """

    def decode(self, tokens: np.ndarray) -> str:
        """The text of [T] tokens."""


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer", package="xlstm_jax.data.text")


@TOKENIZERS.register("byte")
class ByteTokenizer:
    """The 256 byte values of UTF-8 text. Every text can be encoded."""

    kind = "byte"
    vocab_size = 256
    closed = False
    end_token, prefix, suffix, changes = None, (), (), None

    @classmethod
    def from_text(cls, *texts: str | Document, vocab_size: int = VOCAB_SIZE) -> Self:
        return cls()

    @classmethod
    def from_json(cls, data: dict) -> Self:
        return cls()

    def to_json(self) -> dict:
        return {"kind": self.kind}

    @property
    def bytes_per_token(self) -> np.ndarray:
        return np.ones(self.vocab_size, np.int32)

    def encode(self, text: str, *, special: bool = False) -> np.ndarray:
        del special  # there are none
        try:
            # Python passes command-line bytes that are not UTF-8 as surrogate escapes.
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        except UnicodeEncodeError as error:
            raise UsageError(f"text has {text[error.start]!r} at {error.start}, which UTF-8 cannot encode") from error

    def decode(self, tokens: np.ndarray) -> str:
        """The text of the bytes; bytes that are not UTF-8 become U+FFFD."""
        return in_vocabulary(tokens, self.vocab_size).astype(np.uint8).tobytes().decode("utf-8", "replace")


@TOKENIZERS.register("char")
class CharTokenizer:
    """One token per character: the characters of the training text in order of code point."""

    kind = "char"
    closed = True
    end_token, prefix, suffix, changes = None, (), (), None

    def __init__(self, characters: str):
        self.characters = characters
        self._codes_A = _codes(characters)
        # Entry c is the token of code point c, or A if outside the vocabulary. The last entry serves larger ones.
        self._table = np.full(int(self._codes_A[-1]) + 2, len(characters), np.uint32)
        self._table[self._codes_A] = np.arange(len(characters))

    @classmethod
    def from_text(cls, *texts: str | Document, vocab_size: int = VOCAB_SIZE) -> Self:
        if not any(texts):
            raise UsageError("cannot make a vocabulary from an empty text; give a text")
        characters = set()
        for text in texts:
            for piece in Document.of(text).pieces(anywhere=True):
                characters.update(piece)
        return cls("".join(sorted(characters)))

    @classmethod
    def from_json(cls, data: dict) -> Self:
        characters = data.get("characters")
        if not isinstance(characters, str) or not characters or list(characters) != sorted(set(characters)):
            raise UsageError('a char tokenizer needs "characters": one string of distinct characters in sorted order')
        return cls(characters)

    def to_json(self) -> dict:
        return {"kind": self.kind, "characters": self.characters}

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    @property
    def bytes_per_token(self) -> np.ndarray:
        return np.array([len(c.encode("utf-8", "surrogatepass")) for c in self.characters], np.int32)

    def encode(self, text: str, *, special: bool = False) -> np.ndarray:
        """[T] tokens; raises a `UsageError` that lists the characters outside the vocabulary."""
        del special  # there are none
        codes_T = _codes(text)
        tokens_T = self._table[np.minimum(codes_T, len(self._table) - 1)]
        outside_T = tokens_T == self.vocab_size
        if outside_T.any():
            unknown = [chr(code) for code in np.unique(codes_T[outside_T])]
            shown = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            raise UsageError(
                f"{len(unknown)} characters outside the vocabulary: {shown}; use only the {self.vocab_size} "
                f"characters of the training text: {_shortened(self.characters)} (tokenizer 'byte' takes any text)"
            )
        return tokens_T.astype(np.min_scalar_type(self.vocab_size - 1))

    def decode(self, tokens: np.ndarray) -> str:
        codes_T = self._codes_A[in_vocabulary(tokens, self.vocab_size)]
        return codes_T.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def tokenizer_from_json(data: dict) -> Tokenizer:
    """The inverse of a tokenizer's `to_json`."""
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise UsageError(f'a tokenizer needs "kind": one of {", ".join(TOKENIZERS.names())}')
    return TOKENIZERS.get(data["kind"]).from_json(data)


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def in_vocabulary(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Returns `tokens` as an array; raises `ValueError` if one is outside the vocabulary."""
    tokens = np.asarray(tokens)
    if tokens.size == 0:
        return tokens.astype(np.uint8)
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise ValueError(
            f"tokens from {tokens.min()} to {tokens.max()} are not allowed; must be 0 or more and under {vocab_size}"
        )
    return tokens


def _shortened(characters: str, limit: int = 120) -> str:
    return repr(characters) if len(characters) <= limit else f"{characters[:limit]!r} and more"
