"""Tagged sentences as rows of integers, and batches of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.codecs import Vocabulary, padded

MOST_LETTERS = 20  # of a word; of a longer one, the first and the last half of them


class TaggedWords(NamedTuple):
    """A batch of sentences."""

    tokens_BT: np.ndarray  # int32, 0 in the padding
    letters_BTL: np.ndarray  # int32, 0 after a word's end
    spelling_BTF: np.ndarray  # float32, 0 or 1: see `spelling`
    tags_BT: np.ndarray  # int32
    lengths_B: np.ndarray  # int32, 0 in padding rows


def spelling(word: str) -> tuple[bool, ...]:
    """What a word in lower case does not show any more, after Huang, Xu & Yu 2015 (arXiv 1508.01991), section 4.2."""
    letters = [character for character in word if character.isalpha()]
    upper = [letter.isupper() for letter in letters]
    return (
        word[:1].isupper(),
        bool(letters) and all(upper),
        any(character.isupper() for character in word[1:]) and not all(upper),
        any(character.isdigit() for character in word),
        all(character.isdigit() or character in ".,:/-" for character in word),
        not letters,
        any(not character.isalnum() for character in word),
        any(ord(character) > 127 for character in word),
    )


FEATURES = len(spelling("word"))


def row_of(tokens_T: np.ndarray, words: Sequence[str], letters: Vocabulary, tags_T: np.ndarray) -> np.ndarray:
    """One sentence as [T, 2 + MOST_LETTERS + FEATURES], int32: token, tag, letters, spelling of each word."""
    half = MOST_LETTERS // 2
    short = [word if len(word) <= MOST_LETTERS else word[:half] + word[-half:] for word in words]
    letters_TL = np.zeros((len(words), MOST_LETTERS), np.int32)
    for target_L, word in zip(letters_TL, short, strict=True):
        target_L[: len(word)] = letters.encode(word)
    spelling_TF = np.array([spelling(word) for word in words], np.int32).reshape(-1, FEATURES)
    return np.concatenate([tokens_T[:, None], tags_T[:, None], letters_TL, spelling_TF], axis=1, dtype=np.int32)


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> TaggedWords:
    """A batch of rows from `row_of`; their labels are in the rows."""
    del labels
    array_BTF, lengths_B = padded(rows, multiple_of=multiple_of)
    token_BT1, tag_BT1, letters_BTL, spelling_BTF = np.split(array_BTF, (1, 2, 2 + MOST_LETTERS), axis=2)
    return TaggedWords(token_BT1[..., 0], letters_BTL, spelling_BTF.astype(np.float32), tag_BT1[..., 0], lengths_B)
