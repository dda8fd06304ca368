"""Strings of a language read symbol by symbol, with the symbols that may come next at each step."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.generated import empty_rows


class LegalBatch(NamedTuple):
    tokens_BT: np.ndarray  # int32
    targets_BT: np.ndarray  # int32, the symbol after each of tokens_BT
    mask_BT: np.ndarray  # bool, true where a symbol follows; elsewhere token and target are 0
    reset_BT: np.ndarray  # bool, true at the first step
    legal_BTA: np.ndarray  # bool, the symbols that may follow, the target among them; nowhere true after the string


def next_symbols(strings: Sequence[np.ndarray], legal: Sequence[np.ndarray], length: int, size: int) -> LegalBatch:
    """Rows that read each string but for its last symbol, and predict it but for its first.

    Args:
        strings: of symbols 1 to `size` - 1, of at most `length` + 1.
        legal: for each string bools [its length - 1, size]: what may follow upon its first symbol, its second, ...
        length: T.
        size: A, symbols there are, 0 for padding among them.
    """
    batch = LegalBatch(*empty_rows(len(strings), length), np.zeros((len(strings), length, size), bool))
    for row, (string, follows) in enumerate(zip(strings, legal, strict=True)):
        steps = len(string) - 1
        batch.tokens_BT[row, :steps], batch.targets_BT[row, :steps] = string[:-1], string[1:]
        batch.mask_BT[row, :steps], batch.legal_BTA[row, :steps] = True, follows
    return batch
