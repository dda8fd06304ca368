"""Splits of a source for training and validation, and their tokens."""

import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xlstm_jax.data.text.documents import Document
from xlstm_jax.data.text.sources import Source
from xlstm_jax.data.text.token_cache import Framed, Tokens, encode_kept, tokenised
from xlstm_jax.errors import UsageError


class Joined(Sequence):
    """Concatenated arrays; slicing copies only the slice."""

    def __init__(self, parts: Sequence[np.ndarray]):
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, index: slice) -> np.ndarray:
        start, stop, step = index.indices(len(self))
        chosen = itertools.islice(itertools.chain(*self._parts), start, stop, step)
        return np.fromiter(chosen, np.result_type(*self._parts))


class Corpus:
    """The documents of a source: the first ones for training, the last ones for validation.

    The cut is between two documents, where the fraction of characters before it is closest to `train_fraction`. A
    single document is cut inside. The tokenizer does not matter, so losses in bits per byte are over the same text.
    """

    def __init__(self, source: Source, train_fraction: float, *, packed: bool):
        self.source = source
        self._train_fraction, self._packed = train_fraction, packed

    @functools.cached_property
    def _survey(self) -> tuple[str, np.ndarray]:
        """The SHA-256 of the documents and their lengths in characters."""
        digest, lengths = hashlib.sha256(), []
        for document in self.source.documents():
            digest.update(len(document.data).to_bytes(8, "little"))
            digest.update(document.data)
            lengths.append(len(document))
        return digest.hexdigest(), np.array(lengths)

    @property
    def fingerprint(self) -> str:
        return self._survey[0]

    @functools.cached_property
    def _cut(self) -> tuple[int, int]:
        """(number of whole documents, number of characters of the next document) in the training part."""
        length_D = self._survey[1]
        wanted = self._train_fraction * length_D.sum()
        if len(length_D) > 1:
            before_D = np.cumsum(length_D)[:-1]
            return int(np.argmin(np.abs(before_D - wanted))) + 1, 0
        if not 0 < int(wanted) < length_D[0]:
            raise UsageError(
                f"train_fraction={self._train_fraction} of the {length_D[0]} characters of {self.source.name} leaves "
                "no text to train on or none to validate on; give a fraction between 0 and 1, or a longer text"
            )
        return 0, int(wanted)

    def _parts(self) -> Iterator[Document]:
        """The documents; a document that the cut divides comes as two."""
        documents, characters = self._cut
        for number, document in enumerate(self.source.documents()):
            if number == documents and characters:
                yield from document.divided(characters)
            else:
                yield document

    @property
    def _train_parts(self) -> int:
        documents, characters = self._cut
        return documents + bool(characters)

    def texts(self, *, train_only: bool) -> Iterator[Document]:
        """All texts to encode; without those for validation if `train_only`."""
        yield from itertools.islice(self._parts(), self._train_parts if train_only else None)
        if self.source.separator and not self._packed:
            yield Document.of(self.source.separator)

    def _framed(self, tokenizer: Any) -> Iterator[Framed]:
        """Each part with the tokens before and after it; there are none where the cut divides a document."""
        none, documents = np.array([], np.int64), len(self._survey[1])
        head, end = np.array(tokenizer.prefix, np.int64), _end(tokenizer)
        cut = self._cut[0] if self._cut[1] else None
        for number, part in enumerate(self._parts()):
            tail = np.array(end, np.int64)
            if not end and self.source.separator and not self._packed and number < documents - 1:
                tail = encode_kept(tokenizer, self.source.separator)
            inside = cut is not None and number == cut + 1
            yield Framed(part, none if inside else head, none if number == cut else tail)

    def splits(self, tokenizer: Any) -> dict[str, Tokens]:
        """Tokens by split: "train", "validation", and "all" for texts that the model was not trained on.

        The tokenizer's prefix precedes each document; its suffix, or else its end token, follows. If the tokenizer has
        neither, packed documents get nothing and others get the separator, as in the text.

        Validation begins one token before the cut, unless documents are packed and the cut is between two of them. That
        token is only an input, so the targets cover the validation part exactly once.
        """
        sha256, length_D = self._survey
        around = tokenizer.prefix, _end(tokenizer)
        parts = [sha256, *self._cut, self._packed, self.source.separator, tokenizer.to_json(), around]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
        tokens = tokenised(self._framed(tokenizer), key, tokenizer, int(length_D.sum()), self.source.name)
        return _divide(tokens, self._train_parts, apart=self._packed and not self._cut[1])


def _end(tokenizer: Any) -> tuple[int, ...]:
    """The tokens after a document."""
    return tokenizer.suffix or (() if tokenizer.end_token is None else (tokenizer.end_token,))


def _divide(tokens: Tokens, train_documents: int, *, apart: bool) -> dict[str, Tokens]:
    cut = int(tokens.start_D[train_documents])
    first = cut if apart else cut - 1
    # If validation begins one token before the cut, so does its first document.
    start_D = np.maximum(tokens.start_D[train_documents:] - first, 0)
    start_D[0] = 0
    return {
        "train": Tokens(tokens.tokens_N[:cut], tokens.start_D[:train_documents]),
        "validation": Tokens(tokens.tokens_N[first:], start_D),
        "all": tokens,
    }
