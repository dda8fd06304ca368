"""Documents as rows of integers, and batches of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.codecs import padded


class Documents(NamedTuple):
    """A batch of documents."""

    words_BSW: np.ndarray  # int32, 0 after a sentence's end
    words_in_BS: np.ndarray  # int32, number of words of each sentence
    taken_BS: np.ndarray  # float32, 1 for the sentences that the oracle takes
    number_B: np.ndarray  # int32, of the document among all documents of the task
    lengths_B: np.ndarray  # int32, number of sentences; 0 in rows that only fill up a batch


def row_of(sentences: Sequence[np.ndarray], longest: int, *, taken: Sequence[int] = (), number: int = 0) -> np.ndarray:
    """One document as [S, 3 + W], int32: number, taken or not, number of words, and words of each sentence.

    Args:
        sentences: tokens of each.
        longest: W, words of a sentence that are kept, from its start.
        taken: places of the sentences that the oracle takes.
        number: of the document.
    """
    cut = [tokens[:longest] for tokens in sentences]
    row_SF = np.zeros((len(cut), 3 + longest), np.int32)
    row_SF[:, 0], row_SF[list(taken), 1], row_SF[:, 2] = number, 1, [len(tokens) for tokens in cut]
    for target_W, tokens in zip(row_SF[:, 3:], cut, strict=True):
        target_W[: len(tokens)] = tokens
    return row_SF


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Documents:
    """A batch of rows from `row_of`, padded to a multiple of sentences; their labels are in the rows."""
    del labels
    array_BSF, lengths_B = padded(rows, multiple_of=multiple_of)
    number_BS, taken_BS, words_in_BS = (array_BSF[..., place] for place in range(3))
    return Documents(array_BSF[..., 3:], words_in_BS, taken_BS.astype(np.float32), number_BS[:, 0], lengths_B)
