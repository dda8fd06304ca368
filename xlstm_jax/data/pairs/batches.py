"""Pairs as rows of integers, and batches of them."""

from typing import NamedTuple

import numpy as np

from xlstm_jax.data.codecs import padded


class TokenPairs(NamedTuple):
    """A batch of pairs; sources and targets are padded to one length."""

    source_BS: np.ndarray  # int32, 0 in the padding
    source_lengths_B: np.ndarray  # int32
    target_BT: np.ndarray  # int32, with the token after each target; 0 in the padding
    lengths_B: np.ndarray  # int32, of the targets; 0 in padding rows


def row_of(source_S: np.ndarray, target_T: np.ndarray) -> np.ndarray:
    """One pair as [steps, 2], int32; 0, which is no token of a text, after the shorter of the two."""
    row = np.zeros((max(len(source_S), len(target_T)), 2), np.int32)
    row[: len(source_S), 0], row[: len(target_T), 1] = source_S, target_T
    return row


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> TokenPairs:
    """A batch of rows from `row_of`; labels are not used."""
    del labels
    array_BT2, _ = padded(rows, multiple_of=multiple_of)
    source_BS, target_BT = (np.ascontiguousarray(array_BT2[..., side]) for side in (0, 1))
    lengths = ((side_BT > 0).sum(axis=1, dtype=np.int32) for side_BT in (source_BS, target_BT))
    source_lengths_B, lengths_B = lengths
    return TokenPairs(source_BS, source_lengths_B, target_BT, lengths_B)
