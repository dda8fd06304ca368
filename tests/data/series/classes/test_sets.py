"""Readers of published sets of labelled series: their formats, sizes, and what is refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.archives import unpacked
from xlstm_jax.data.parts import class_names
from xlstm_jax.data.series.classes import mnist, mnist1d, nucleotides, splice, ts_file
from xlstm_jax.errors import UsageError

needs_data = needs_mirror("mnist/, mnist1d/, splice/")


class Evil:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: pickle.dumps({"x": Evil(folder)}),
        lambda folder: pickle.dumps({"x": np.array([Evil(folder)], dtype=object)}),
        lambda folder: b"cos\nmkdir\n(V" + folder.encode() + b"\ntR.",
        lambda folder: b"cnumpy\nload\n(V" + folder.encode() + b"\ntR.",
        lambda folder: b"cbuiltins\neval\n(V1\ntR.",
        lambda folder: pickle.dumps([1, 2]),
        lambda folder: pickle.dumps({"x": np.zeros(3)})[:-20],
        lambda folder: b"",
        lambda folder: b"no pickle",
    ],
)
def test_a_pickle_only_makes_arrays(tmp_path, make):
    """Never what it names; and a damaged one is refused in one line."""
    file = tmp_path / "data.pkl"
    file.write_bytes(make(str(tmp_path / "made")))
    with pytest.raises(UsageError, match="pickled dict"):
        mnist1d.read_arrays(file)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("protocol", [3, 4])  # as NumPy pickles by default, and as the published file
def test_a_pickle_of_arrays_is_read(tmp_path, protocol):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([1, 2]), "n": 3, "s": np.float64(2), "d": {"a": [1]}}
    (tmp_path / "data.pkl").write_bytes(pickle.dumps(arrays, protocol=protocol))
    read = mnist1d.read_arrays(tmp_path / "data.pkl")
    np.testing.assert_array_equal(read["x"], arrays["x"])
    assert read["y"].dtype == np.int64 and read["n"] == 3 and read["s"] == 2 and read["d"] == {"a": [1]}


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def test_idx_files(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    good = idx(array)
    (tmp_path / "a").write_bytes(good)
    np.testing.assert_array_equal(mnist.read_idx(tmp_path / "a"), array)
    for bad in (good[:-1], good + b"x", b"\0\0\x0d" + good[3:], good[:6], b"", b"\0\0\x08\0"):
        (tmp_path / "a").write_bytes(bad)
        with pytest.raises(UsageError, match="is not an IDX file of bytes, or is damaged"):
            mnist.read_idx(tmp_path / "a")


@needs_data
def test_mnist_1d():
    data = mnist1d.read()
    assert {name: np.shape(part.series) for name, part in data.parts.items()} == {
        "train": (4000, 40, 1),
        "test": (1000, 40, 1),
    }
    assert class_names(data.parts["train"].labels) == list("0123456789")


@needs_data
@pytest.mark.slow
def test_mnist():
    """The images' mean and deviation are 0.1307 and 0.3081, as everybody's code has it."""
    data = mnist.read()
    train, test = data.parts["train"], data.parts["test"]
    assert train.series.shape == (60_000, 784, 1) and test.series.shape == (10_000, 784, 1)
    assert (round(train.series.mean() / 255, 4), round(train.series.std() / 255, 4)) == (0.1307, 0.3081)
    assert list(train.labels[:5]) == list("50419") and list(test.labels[:5]) == list("72104")
    assert np.bincount(test.labels.astype(int)).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_data
@pytest.mark.slow
def test_splice_sites():
    train = splice.read().parts["train"]
    names, counts = np.unique(train.labels, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {"EI": 3470, "IE": 3550, "N": 6646}
    assert {len(one) for one in train.series} == {60, 140}
    # Introns begin with GT and end with AG, nearly always.
    sites = {
        name: [one[len(one) // 2 - 4 : len(one) // 2 + 4] for one, l in zip(*train, strict=True) if l == name]
        for name in ("EI", "IE")
    }
    for name, pair in (("EI", "GT"), ("IE", "AG")):
        wanted = nucleotides.encode(pair, "")
        shares = [np.mean([(one[place : place + 2] == wanted).all() for one in sites[name]]) for place in range(7)]
        assert max(shares) > 0.9, shares


@pytest.mark.parametrize("name", ts_file.SETS)
def test_sets_of_the_archive(name):
    """The package that has them is downloaded by pip; in a mirror it is a file."""
    mirror = os.environ.get("XLSTM_JAX_DATA_MIRROR", "")
    if not Path(mirror, ts_file.ARCHIVE).is_file():
        pytest.skip(f"{ts_file.ARCHIVE} is not in the mirror")
    data = ts_file.read(name)
    sizes, channels, lengths, classes = {
        "japanese_vowels": ((270, 370), 12, (7, 29), 9),
        "basic_motions": ((40, 40), 6, (100, 100), 4),
    }[name]
    assert tuple(len(data.parts[part].labels) for part in ("train", "test")) == sizes
    steps = [len(one) for part in data.parts.values() for one in part.series]
    assert (min(steps), max(steps)) == lengths and len(data.channels) == channels
    assert len(class_names(data.parts["train"].labels)) == classes
    assert unpacked(ts_file.ARCHIVE).is_dir()
