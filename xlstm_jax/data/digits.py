"""Handwritten digits of 8x8 pixels, read pixel by pixel.

The 1,797 images that come with scikit-learn: the test set of Alpaydin & Kaynak 1998, "Optical recognition of
handwritten digits" (UCI). Pixels are read row by row, or in one random order shared by all images, like MNIST in Le,
Jaitly & Hinton 2015 (arXiv 1504.00941).
"""

import numpy as np

from xlstm_jax.data.batches import generator
from xlstm_jax.data.problems.base import Rows, answered_last, chosen
from xlstm_jax.errors import optional

PIXELS, CLASSES = 64, 10
TRAINED = 1437  # training images; the other 360 are for validation


def read(*, permuted: bool) -> dict[str, Rows]:
    """The splits "train" and "validation". Inputs are pixels in [0, 1], [B, 64, 1]; the target is at the last step.

    The split and the permutation of the pixels are the same in every run.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    datasets = optional("sklearn.datasets", "the digits need", "scikit-learn")
    pixels_BT, class_B = datasets.load_digits(return_X_y=True)
    order_B = generator(0, 0).permutation(len(class_B))
    order_T = generator(0, 1).permutation(PIXELS) if permuted else np.arange(PIXELS)
    x_BT1 = (pixels_BT[order_B][:, order_T, None] / 16).astype(np.float32)  # grey levels are 0 to 16
    whole = answered_last(x_BT1, np.full(len(class_B), PIXELS), class_B[order_B].astype(np.int32))
    whole = whole._replace(lengths_B=None)
    train, validation = slice(None, TRAINED), slice(TRAINED, None)
    return {name: chosen(whole, part) for name, part in (("train", train), ("validation", validation))}
