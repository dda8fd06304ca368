"""Strings of a^n b^n and a^n b^n c^n, the languages that need a counter, and two.

Gers & Schmidhuber 2001, "LSTM recurrent networks learn simple context-free and context-sensitive languages". A string
is S, n times each letter, T. While a's come, another a or the first b may follow; from the first b on one symbol alone.
"""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.legal_symbols import LegalRows, next_symbols

LANGUAGES = {"anbn": "ab", "anbncn": "abc"}
SYMBOLS = ".STabc"  # by token; the first is padding
START, END, A, B = (SYMBOLS.index(symbol) for symbol in "STab")


def string(letters: str, n: int) -> np.ndarray:
    """S, n times each letter, T."""
    return np.array([START, *(SYMBOLS.index(letter) for letter in letters for _ in range(n)), END], np.int32)


def vocab_size(letters: str) -> int:
    """Padding, S, T and the letters."""
    return SYMBOLS.index(letters[-1]) + 1


def steps(letters: str, n: int) -> int:
    """That it takes to read it, all but the T."""
    return 1 + len(letters) * n


def batch(letters: str, n_B: np.ndarray, length: int) -> LegalRows:
    """A row for each n, of `length` steps; upon S only an a may follow, as n is at least 1."""
    strings = [string(letters, int(n)) for n in n_B]
    size = vocab_size(letters)
    legal = [np.arange(size) == row[1:, None] for row in strings]
    for n, legal_TA in zip(n_B, legal, strict=True):
        legal_TA[1 : n + 1, [A, B]] = True
    return next_symbols(strings, legal, length, size)


@dataclasses.dataclass(frozen=True)
class Counting:
    """Rows with n drawn evenly from 1 to `longest`."""

    letters: str
    longest: int

    @property
    def length(self) -> int:
        return steps(self.letters, self.longest)

    def rows(self, rng: np.random.Generator, count: int) -> LegalRows:
        return batch(self.letters, rng.integers(1, self.longest + 1, count), self.length)
