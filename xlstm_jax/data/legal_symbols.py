"""Strings of a language read symbol by symbol, with the symbols that may come next at each step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class LegalBatch(NamedTuple):
    tokens_BT: np.ndarray  # int32
    targets_BT: np.ndarray  # int32, the symbol after each of tokens_BT
    mask_BT: np.ndarray  # bool, true where a symbol follows; elsewhere token and target are 0
    reset_BT: np.ndarray  # bool, true at the first step
    legal_BTA: np.ndarray  # bool, the symbols that may follow, the target among them; nowhere true behind the string


def next_symbols(strings: Sequence[np.ndarray], legal: Sequence[np.ndarray], length: int, size: int) -> LegalBatch:
    """Rows that read each string but for its last symbol, and predict it but for its first.

    Args:
        strings: of symbols 1 to `size` - 1, of at most `length` + 1.
        legal: for each string bools [its length - 1, size]: what may follow upon its first symbol, its second, ...
        length: T.
        size: A, symbols there are, 0 for padding among them.
    """
    count = len(strings)
    tokens_BT, targets_BT = np.zeros((2, count, length), np.int32)
    mask_BT, reset_BT = np.zeros((2, count, length), bool)
    legal_BTA = np.zeros((count, length, size), bool)
    reset_BT[:, 0] = True
    for row, (string, follows) in enumerate(zip(strings, legal, strict=True)):
        steps = len(string) - 1
        tokens_BT[row, :steps], targets_BT[row, :steps] = string[:-1], string[1:]
        mask_BT[row, :steps], legal_BTA[row, :steps] = True, follows
    return LegalBatch(tokens_BT, targets_BT, mask_BT, reset_BT, legal_BTA)
