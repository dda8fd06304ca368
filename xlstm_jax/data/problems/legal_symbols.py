"""Strings of a language, with the symbols that may come next at each step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.problems.base import empty_rows


class LegalRows(NamedTuple):
    """`Rows` of strings; the target is the next symbol."""

    inputs_BT: np.ndarray  # int32
    targets_BT: np.ndarray  # int32
    mask_BT: np.ndarray  # bool, true where a symbol follows
    lengths_B: np.ndarray  # int32
    legal_BTA: np.ndarray  # bool, symbols that may follow, including the target; false after the string's end


def next_symbols(strings: Sequence[np.ndarray], legal: Sequence[np.ndarray], length: int, size: int) -> LegalRows:
    """Rows that read each string without its last symbol and predict it without its first.

    Args:
        strings: symbols 1 to `size` - 1, at most `length` + 1 per string.
        legal: for each string, bools [its length - 1, size]: the symbols that may follow its first symbol, second, ...
        length: T.
        size: A, the number of symbols, including 0 for padding.
    """
    lengths_B = np.array([len(string) - 1 for string in strings], np.int32)
    legal_BTA = np.zeros((len(strings), length, size), bool)
    batch = LegalRows(*empty_rows(len(strings), length)._replace(lengths_B=lengths_B), legal_BTA)
    for row, (string, follows) in enumerate(zip(strings, legal, strict=True)):
        steps = len(string) - 1
        batch.inputs_BT[row, :steps], batch.targets_BT[row, :steps] = string[:-1], string[1:]
        batch.mask_BT[row, :steps], batch.legal_BTA[row, :steps] = True, follows
    return batch
