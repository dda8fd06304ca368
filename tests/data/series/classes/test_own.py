"""Labelled series of a user's own: files, folders, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from xlstm_jax.data.series.classes import own
from xlstm_jax.data.series.classes.labelled import Part
from xlstm_jax.errors import UsageError

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
        ("a.csv", ["s,label,x", "1,up,1"], own.Columns("label", "id"), "has no column 'id'; it has 's, label, x'"),
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
        ("a.csv", ["label,x", "up,AC"], own.Columns("label", sequence="y"), "has no column 'y'"),
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
