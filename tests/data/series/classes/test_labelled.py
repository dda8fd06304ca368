"""Readers of labelled series: real sets, files of a user's own, how parts are cut, and what is refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from xlstm_jax.data.archives import unpacked
from xlstm_jax.data.series.classes import mnist, mnist1d, nucleotides, own, splice, ts_file
from xlstm_jax.data.series.classes.labelled import Part, class_names, with_cut
from xlstm_jax.errors import UsageError

needs_data = pytest.mark.skipif(
    "XLSTM_JAX_DATA_MIRROR" not in os.environ,
    reason="set XLSTM_JAX_DATA_MIRROR to a folder with mnist/, mnist1d/, splice/",
)
LABEL = own.Columns("label")


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def refused(path: str, columns: own.Columns = LABEL) -> str:
    with pytest.raises(UsageError) as caught:
        own.read(path, columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def equal(part: Part, series, labels):
    assert list(part.labels) == labels and len(part.series) == len(series)
    for one, other in zip(part.series, series, strict=True):
        np.testing.assert_allclose(one, other)


def test_a_row_per_series(tmp_path):
    """With a header that names the classes, or without one as in the UCR archive; shorter series end in empty cells."""
    series = [[[1.0], [2.5], [-3]], [[4.0], [5.0]]]
    titled = write(tmp_path / "a.csv", "t0,label,t1,t2", "1,up,2.5,-3", "4,down,5,")
    bare = write(tmp_path / "b.tsv", "up\t1\t2.5\t-3", "down\t4\t5\tNaN")
    for path in (titled, bare):
        data = own.read(path, LABEL)
        equal(data.parts["train"], series, ["up", "down"])
        assert data.channels == ("value",) and set(data.parts) == {"train"}


def test_a_row_per_step(tmp_path):
    """Series are told by a column, whatever the order of the rows of different series; channels by their names."""
    lines = ["id,t,x,class,y", "a,0,1,up,10", "b,0,3,down,30", "a,1,2,up,20", "b,1,4,down,40", "b,2,5,down,50"]
    path = write(tmp_path / "long.csv", *lines)
    data = own.read(path, own.Columns("class", "id", channels=("y", "x")))
    assert data.channels == ("y", "x")
    equal(data.parts["train"], [[[10, 1], [20, 2]], [[30, 3], [40, 4], [50, 5]]], ["up", "down"])
    assert own.read(path, own.Columns("class", "id")).channels == ("t", "x", "y")


def test_nucleotides(tmp_path):
    path = write(tmp_path / "dna.csv", "name,kind,seq", "x,EI,ACGTn", "y,N,rU")
    data = own.read(path, own.Columns("kind", sequence="seq"))
    one, half, quarter = np.eye(4), [0.5, 0, 0.5, 0], [0.25] * 4
    equal(data.parts["train"], [[*one, quarter], [half, one[3]]], ["EI", "N"])
    assert data.channels == ("A", "C", "G", "T")


TS = ("#comment", "@problemName a", "@timeStamps false", "@classLabel true up down", "@data")


def test_a_ts_file(tmp_path):
    path = write(tmp_path / "a.ts", *TS, "1,2,3:4,5,6:up", "", "7,8:9,1e1:down")
    data = own.read(path, LABEL)
    assert data.channels == ("1", "2")
    equal(data.parts["train"], [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10]]], ["up", "down"])


def test_a_folder_has_the_parts(tmp_path):
    """By the names of this project or of the archives."""
    for folder, names in (("a", ("train", "validation", "test")), ("b", ("Set_TRAIN", "Set_VALIDATION", "Set_TEST"))):
        (tmp_path / folder).mkdir()
        for n, name in enumerate(names):
            write(tmp_path / folder / f"{name}.tsv", f"up\t{n}\t1.5", "down\t2\t3")
        (tmp_path / folder / "notes.md").write_text("no data")
        data = own.read(str(tmp_path / folder), LABEL)
        assert {name: part.series[0][0, 0] for name, part in data.parts.items()} == {
            "train": 0,
            "validation": 1,
            "test": 2,
        }


HEAD = "label,a,b,c"


@pytest.mark.parametrize(
    ("name", "lines", "columns", "message"),
    [
        ("a.csv", [HEAD, "up,1,,3", "down,1,2,3"], LABEL, "line 2 lacks a value at step 2 of 3; fill it in"),
        ("a.csv", [HEAD, "up,1,x,3"], LABEL, "line 2: cell 2 'x' is not a number"),
        ("a.csv", [HEAD, "up,1,inf,3"], LABEL, "line 2: cell 2 'inf' is not finite"),
        ("a.csv", [HEAD, "up,2,2,2"], LABEL, "line 2 is constant, always 2; leave it out"),
        ("a.csv", [HEAD, "up,2,,"], LABEL, "line 2 has 1 steps; a series has at least 2"),
        ("a.csv", [HEAD, "up,,,"], LABEL, "line 2 has 0 steps"),
        ("a.csv", [HEAD, ",1,2,3"], LABEL, "line 2 has no class"),
        ("a.csv", [HEAD, "up,1,2,3,4"], LABEL, "line 2 has 5 cells, and the header 4"),
        ("a.csv", ["kind,a,b", "up,1,2"], LABEL, "has no column 'label'; name the column of classes with data.label"),
        ("a.csv", [HEAD], LABEL, "has no rows"),
        ("none.csv", None, LABEL, "cannot read '.*none.csv'"),
        ("a.csv", ["s,label,x", "1,up,1"], own.Columns("label", "id"), "has no columns 'id'; it has 's, label, x'"),
        ("a.csv", ["s,label,x,x", "1,up,1,2"], own.Columns("label", "s", channels=("x",)), "has 2 columns 'x'"),
        ("a.csv", ["s,label,x", "1,up,1", "1,up"], own.Columns("label", "s"), "line 3 has 2 cells, and the header 3"),
        ("a.csv", ["s,label,x", "1,up,1", "1,down,2"], own.Columns("label", "s"), "series '1' was 'up' before"),
        (
            "a.csv",
            ["s,label,x", "1,up,1", "1,up,"],
            own.Columns("label", "s"),
            "series '1' of .* lacks a value at step 2",
        ),
        ("a.csv", ["s,label,x", "1,up,1", "2,up,1"], own.Columns("label", "s"), "series '1' of .* has 1 steps"),
        (
            "a.csv",
            ["label,x", "up,ACXT"],
            own.Columns("label", sequence="x"),
            "line 2 has 'X' at step 3; nucleotides are",
        ),
        ("a.csv", ["label,x", "up,A"], own.Columns("label", sequence="x"), "line 2 has 1 steps"),
        ("a.csv", ["label,x", "up,AC"], own.Columns("label", sequence="y"), "has no columns 'y'"),
        ("a.ts", ["1,2:up"], LABEL, "line 1 comes before @data"),
        ("a.ts", TS[:-1], LABEL, "has no line @data"),
        ("a.ts", ["@classLabel false", "@data", "1,2:up"], LABEL, "has no classes"),
        ("a.ts", [TS[3], "@timestamps true", "@data", "1,2:up"], LABEL, "has time stamps"),
        ("a.ts", [*TS, "1,2:sideways"], LABEL, "line 6: 'sideways' is not one of the classes of @classLabel, up, down"),
        ("a.ts", [*TS, "1,?,3:up"], LABEL, "line 6 lacks a value at step 2 of 3"),
        ("a.ts", [*TS, "1,2:3:up"], LABEL, "line 6: channels of 2, 1 steps"),
        ("a.ts", [*TS, "1,2:up", "1,2:3,4:down"], LABEL, "line 7 has 2 channels, and earlier lines 1"),
        ("a.ts", [*TS], LABEL, "has no series after @data"),
        ("a.ts", [*TS, "up"], LABEL, "line 6: channels of no steps"),
    ],
)
def test_files_that_cannot_be(tmp_path, name, lines, columns, message):
    import re

    path = str(tmp_path / name) if lines is None else write(tmp_path / name, *lines)
    assert re.search(message, refused(path, columns))


def test_folders_that_cannot_be(tmp_path):
    assert "has no file train.csv" in refused(str(tmp_path))
    write(tmp_path / "train.csv", HEAD, "up,1,2,3")
    write(tmp_path / "x_TRAIN.tsv", "up\t1\t2")
    assert "has train.csv and x_TRAIN.tsv" in refused(str(tmp_path))
    (tmp_path / "x_TRAIN.tsv").unlink()
    write(tmp_path / "test.ts", *TS, "1,2:3,4:up")
    assert "has the channels ('1', '2'), and the training part ('value',)" in refused(str(tmp_path))


def test_cells_that_are_no_text(tmp_path):
    for name in ("a.csv", "a.ts"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
        assert "cannot read" in refused(str(tmp_path / name))


def test_every_class_is_in_every_part():
    """The same cut each time; nothing is lost or there twice; a share of each class, one series at least."""
    labels = np.array(["a"] * 50 + ["b"] * 20 + ["c"] * 3)
    data = {"train": Part([np.full((2, 1), n) for n in range(73)], labels)}
    cut, again = (with_cut(with_cut(data, "test", 0.2), "validation", 0.1) for _ in range(2))
    numbers, repeated = (
        {name: [int(one[0, 0]) for one in part.series] for name, part in c.items()} for c in (cut, again)
    )
    assert sorted(n for part in numbers.values() for n in part) == list(range(73)) and numbers == repeated
    assert all((labels[numbers[name]] == part.labels).all() for name, part in cut.items())
    counts = {name: [list(part.labels).count(label) for label in "abc"] for name, part in cut.items()}
    assert counts == {"train": [36, 14, 1], "test": [10, 4, 1], "validation": [4, 2, 1]}


def test_cuts_that_cannot_be():
    data = {"train": Part([np.zeros((2, 1))] * 3, np.array(["a", "a", "b"]))}
    with pytest.raises(UsageError, match="class 'b' has too few series to cut one for test; give 3 or more"):
        with_cut(data, "test", 0.5)
    with pytest.raises(UsageError, match=r"data\.validation 0 is not allowed"):
        with_cut(data, "validation", 0.0)


def test_names_of_classes_are_in_order():
    assert class_names(["10", "9", "-1", "10"]) == ["-1", "9", "10"]
    assert class_names(["10", "9", "up"]) == ["10", "9", "up"]


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
