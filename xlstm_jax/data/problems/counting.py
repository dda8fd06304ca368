"""Strings of a^n b^n, which needs one counter, and of a^n b^n c^n, which needs two.

Gers & Schmidhuber 2001, "LSTM recurrent networks learn simple context-free and context-sensitive languages". A string
is S, each letter n times, T. After an a, another a or the first b may follow; from the first b on, the next symbol is
determined.
"""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.legal_symbols import LegalRows, next_symbols

LANGUAGES = {"anbn": "ab", "anbncn": "abc"}
SYMBOLS = ".STabc"  # by token; the first is padding
START, END, A, B = (SYMBOLS.index(symbol) for symbol in "STab")


def string(letters: str, n: int) -> np.ndarray:
    """S, each letter n times, T."""
    return np.array([START, *(SYMBOLS.index(letter) for letter in letters for _ in range(n)), END], np.int32)


def vocab_size(letters: str) -> int:
    """Number of tokens: padding, S, T and the letters."""
    return SYMBOLS.index(letters[-1]) + 1


def steps(letters: str, n: int) -> int:
    """Steps of a row: all symbols of the string except the T, which is only predicted."""
    return 1 + len(letters) * n


def batch(letters: str, n_B: np.ndarray, length: int) -> LegalRows:
    """Rows of `length` steps, one for each n. n is at least 1, so only an a may follow S."""
    strings = [string(letters, int(n)) for n in n_B]
    size = vocab_size(letters)
    legal = [np.arange(size) == row[1:, None] for row in strings]
    for n, legal_TA in zip(n_B, legal, strict=True):
        legal_TA[1 : n + 1, [A, B]] = True
    return next_symbols(strings, legal, length, size)


@dataclasses.dataclass(frozen=True)
class Counting:
    """Rows with n uniform in 1 to `longest`."""

    letters: str
    longest: int

    @property
    def length(self) -> int:
        return steps(self.letters, self.longest)

    def rows(self, rng: np.random.Generator, count: int) -> LegalRows:
        return batch(self.letters, rng.integers(1, self.longest + 1, count), self.length)
