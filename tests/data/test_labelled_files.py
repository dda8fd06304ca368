"""Labelled texts in every form that a user can give, and what is refused in one line."""

import json

import pytest

from xlstm_jax.data.labelled_files import read
from xlstm_jax.errors import UsageError

ROWS = [("A fine, funny film", "up"), ("dull", "down")]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def objects(rows):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"A fine, funny film",up\ndull,down\n'),
        ("a.csv", "label;id;text\nup;1;A fine, funny film\ndown;2;dull\n"),
        ("a.tsv", "text\tlabel\r\nA fine, funny film\tup\r\ndull\tdown\r\n"),
        ("a.jsonl", objects(ROWS)),
    ],
)
def test_one_file_is_for_training(tmp_path, name, content):
    assert read(str(write(tmp_path / name, content))) == {"train": ROWS}


def test_a_text_may_have_line_breaks(tmp_path):
    """In a cell with quotes; U+2028 is no end of a row."""
    path = write(tmp_path / "a.csv", 'text,label\n"one\ntwo",up\nthree\u2028four,down\n')
    assert read(str(path)) == {"train": [("one\ntwo", "up"), ("three\u2028four", "down")]}


def test_a_folder_with_a_file_for_each_part(tmp_path):
    write(tmp_path / "train.csv", "text,label\nA fine film,up\n")
    write(tmp_path / "reviews_TEST.jsonl", objects(ROWS))
    write(tmp_path / "readme.txt", "not read")
    assert read(str(tmp_path)) == {"train": [("A fine film", "up")], "test": ROWS}
    write(tmp_path / "train.jsonl", objects(ROWS))
    with pytest.raises(UsageError, match=r"has train\.csv and train\.jsonl; give one file for train"):
        read(str(tmp_path))


def test_a_folder_by_class(tmp_path):
    """Files and folders, in the order of their names; each line that is not empty is a text."""
    write(tmp_path / "fr.txt", "bonjour \n\nmerci\n")
    write(tmp_path / "de" / "b.txt", "danke\n")
    write(tmp_path / "de" / "a.txt", "guten Tag\n")
    write(tmp_path / "de" / "notes.md", "not read")
    rows = [("guten Tag", "de"), ("danke", "de"), ("bonjour", "fr"), ("merci", "fr")]
    assert read(str(tmp_path)) == {"train": rows}
    write(tmp_path / "whole" / "train" / "de.txt", "ja\n")
    write(tmp_path / "whole" / "test" / "de.txt", "nein\n")
    assert read(str(tmp_path / "whole")) == {"train": [("ja", "de")], "test": [("nein", "de")]}


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({}, "none.csv", r"cannot read .*none\.csv"),
        ({}, "none", "is no folder, and its ending none of .csv, .tsv, .jsonl; give texts with labels, or"),
        ({"a.txt": "text\n"}, "a.txt", "is no folder, and its ending none of"),
        ({"a.csv": ""}, "a.csv", "has no rows; give a header with text and label, and a text per row"),
        ({"a.csv": "review,label\ngood,up\n"}, "a.csv", "has no columns 'text'; it has 'review, label'; call one"),
        ({"a.csv": "text,text,label\na,b,up\n"}, "a.csv", "has 2 columns 'text'"),
        ({"a.csv": "text,label\nfine, funny,up\n"}, "a.csv", "line 2 has 3 cells, and the header 2; put quotes"),
        ({"a.csv": "text,label\nfine,up\n ,up\n"}, "a.csv", "line 3 has no text; give one"),
        ({"a.csv": "text,label\nfine,\n"}, "a.csv", "line 2 has no label; give one"),
        ({"a.csv": b"text,label\ncaf\xe9,up\n"}, "a.csv", "give a CSV file in UTF-8"),
        ({"a.jsonl": "{}\n"}, "a.jsonl", 'line 1 is not a JSON object with "text" and "label"'),
        ({"a.jsonl": ""}, "a.jsonl", "is empty; give a JSON object per line"),
        ({"a.jsonl": '{"text": " ", "label": 1}\n'}, "a.jsonl", '"text" must be a string with at least one word'),
        ({"test.csv": "text,label\nfine,up\n"}, "", r"has no file for training; add train\.csv"),
        ({"a.md": "text"}, "", "has no labelled texts; give train.csv or train.jsonl, or a .txt file for each class"),
        ({"de.txt": ""}, "", r"de\.txt' is empty; give a text per line"),
        ({"de.txt": b"gr\xfc\xdf\n"}, "", r"cannot read .*de\.txt"),
    ],
)
def test_refused(tmp_path, files, given, message):
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(UsageError, match=message) as caught:
        read(str(tmp_path / given))
    assert "\n" not in str(caught.value)
