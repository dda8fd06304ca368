"""Documents as UTF-8 bytes, decoded piece by piece, so one wide character does not widen the whole string in memory."""

import re
from collections.abc import Iterator
from typing import Self

import numpy as np

BLOCK_BYTES = 1 << 20  # processed at once
PIECE_CHARACTERS = 1_000_000
# Single line breaks between words. No token of a byte-level BPE crosses one, so a text may be cut after it.
CUT = re.compile(r"(?<=\S)\n(?=\S)")


class Document:
    """A text of any length. Lone surrogates, which JSON strings can contain, are kept as three bytes each.

    Args:
        data: well-formed UTF-8 (`from_bytes` checks it); not copied.
    """

    def __init__(self, data: bytes | memoryview):
        self.data = memoryview(data)

    @classmethod
    def of(cls, text: "str | Document") -> Self:
        return text if isinstance(text, cls) else cls(text.encode("utf-8", "surrogatepass"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises `UnicodeDecodeError`, with the offset in the whole data, if they are not UTF-8."""
        document = cls(data)
        for start, block in document._blocks():
            try:
                str(block, "utf-8")
            except UnicodeDecodeError as error:
                raise UnicodeDecodeError("utf-8", data, start + error.start, start + error.end, error.reason) from error
        return document

    def __bool__(self) -> bool:
        return len(self.data) > 0

    def __len__(self) -> int:
        """Number of characters."""
        return sum(int(np.count_nonzero(_starts(block))) for _, block in self._blocks())

    def __str__(self) -> str:
        return _decoded(self.data)

    def divided(self, characters: int) -> tuple[Self, Self]:
        """Splits into the first `characters` characters and the rest."""
        left = characters
        for start, block in self._blocks():
            position_C = np.flatnonzero(_starts(block))
            if left < len(position_C):
                offset = start + int(position_C[left])
                return type(self)(self.data[:offset]), type(self)(self.data[offset:])
            left -= len(position_C)
        return self, type(self)(b"")

    def split(self, separator: str) -> Iterator[Self]:
        """Like `str.split`; the parts are views of the whole."""
        start = 0
        for found in re.finditer(re.escape(separator.encode("utf-8", "surrogatepass")), self.data):
            yield type(self)(self.data[start : found.start()])
            start = found.end()
        yield type(self)(self.data[start:])

    def pieces(self, characters: int = PIECE_CHARACTERS, *, anywhere: bool = False) -> Iterator[str]:
        """Cuts the text, at `CUT` or anywhere, into pieces of at least `characters`; the last may be shorter."""
        text, searched = "", characters
        for _, block in self._blocks():
            text += _decoded(block)
            while len(text) > characters:
                cut = None if anywhere else CUT.search(text, searched)
                if not anywhere and cut is None:
                    # Whether a newline at the very end is a CUT depends on the next block's first character.
                    searched = max(characters, len(text) - 1)
                    break
                end = characters if anywhere else cut.end()
                yield text[:end]
                text, searched = text[end:], characters
        if text:
            yield text

    def _blocks(self) -> Iterator[tuple[int, memoryview]]:
        """Yields offset and bytes of blocks of whole characters."""
        start, size = 0, len(self.data)
        while start < size:
            end = min(start + BLOCK_BYTES, size)
            while end < size and end > start + BLOCK_BYTES - 3 and self.data[end] & 0xC0 == 0x80:
                end -= 1
            yield start, self.data[start:end]
            start = end


def _starts(block: memoryview) -> np.ndarray:
    """Bools: the bytes that begin a character, which are all but continuation bytes."""
    return np.frombuffer(block, np.uint8) & 0xC0 != 0x80


def _decoded(data: memoryview) -> str:
    return str(data, "utf-8", "surrogatepass")
