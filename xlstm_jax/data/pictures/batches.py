"""Batches of pictures and their captions."""

from typing import NamedTuple

import numpy as np

from xlstm_jax.data.codecs import padded

CHANNELS = 3


class CaptionedPictures(NamedTuple):
    """A batch of pictures with a caption each."""

    pictures_BHWC: np.ndarray  # float32, from 0 to 1
    target_BT: np.ndarray  # int32, a caption's words, then the token after them; 0 in the padding
    lengths_B: np.ndarray  # int32, of the captions; 0 in padding rows
    picture_B: np.ndarray  # int32, the picture's number; -1 where another row has its first caption


def batch_of(pictures: list[np.ndarray], rows: list[np.ndarray], picture_B: np.ndarray) -> CaptionedPictures:
    """A batch of pictures, uint8 [H, W, 3], and of their captions' tokens [T], 0 in the padding."""
    target_BT, _ = padded(rows)
    lengths_B = (target_BT > 0).sum(axis=1, dtype=np.int32)
    pictures_BHWC = np.stack(pictures).astype(np.float32) / np.float32(255)
    return CaptionedPictures(pictures_BHWC, target_BT, lengths_B, picture_B.astype(np.int32))
