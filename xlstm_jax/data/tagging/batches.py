"""Tagged sentences as rows of integers, and batches of them."""

from typing import NamedTuple

import numpy as np

from xlstm_jax.data.codecs import padded
from xlstm_jax.data.words import MOST_LETTERS, WIDTH


class TaggedWords(NamedTuple):
    """A batch of sentences."""

    tokens_BT: np.ndarray  # int32, 0 in the padding
    letters_BTL: np.ndarray  # int32, 0 after a word's end
    spelling_BTF: np.ndarray  # float32, 0 or 1: see `data.words.spelling`
    tags_BT: np.ndarray  # int32
    lengths_B: np.ndarray  # int32, 0 in padding rows
    bilm_BTW: np.ndarray | None = None  # int32, the same words by the lexicon of a biLM


def row_of(words_TW: np.ndarray, tags_T: np.ndarray, bilm_TW: np.ndarray | None = None) -> np.ndarray:
    """One sentence as [T, 1 + WIDTH], int32: token, tag, letters, spelling of each word; then those for a biLM.

    Args:
        words_TW, bilm_TW: of `data.words.Lexicon.encode`, of two lexicons.
        tags_T: numbers of tags.
    """
    parts = [words_TW[:, :1], tags_T[:, None], words_TW[:, 1:], *([] if bilm_TW is None else [bilm_TW])]
    return np.concatenate(parts, axis=1, dtype=np.int32)


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> TaggedWords:
    """A batch of rows from `row_of`; their labels are in the rows."""
    del labels
    array_BTF, lengths_B = padded(rows, multiple_of=multiple_of)
    cuts = (1, 2, 2 + MOST_LETTERS, 1 + WIDTH)
    token_BT1, tag_BT1, letters_BTL, spelling_BTF, bilm_BTW = np.split(array_BTF, cuts, axis=2)
    tokens_BT, tags_BT, spelling_BTF = token_BT1[..., 0], tag_BT1[..., 0], spelling_BTF.astype(np.float32)
    return TaggedWords(
        tokens_BT, letters_BTL, spelling_BTF, tags_BT, lengths_B, bilm_BTW if bilm_BTW.shape[2] else None
    )
