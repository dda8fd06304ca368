"""Named sources and users' own files, valid and invalid."""

import os

import pytest

from xlstm_jax.data.text import sources
from xlstm_jax.data.text.sources import Source
from xlstm_jax.errors import UsageError


def read_text(source, path=""):
    return "".join(map(str, Source(source, str(path)).documents()))


def one_line_error(source, path):
    with pytest.raises(UsageError) as caught:
        read_text(source, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_stdlib_is_deterministic_python_source():
    text = read_text("stdlib")
    assert text == read_text("stdlib")
    assert 1_000_000 < len(text.encode()) <= sources.STDLIB_BYTES
    assert "class AbstractEventLoop" not in text  # packages and site-packages are left out
    assert "build_time_vars = {" not in text  # _sysconfigdata differs between machines
    with open(os.__file__, encoding="utf-8", newline="") as file:
        assert file.read() in text


def test_a_path_wins_and_its_bytes_stay_as_they_are(tmp_path):
    data = "\ufeffa\r\nb\rc\n\u20ac".encode()
    (tmp_path / "mine.txt").write_bytes(data)
    assert read_text("stdlib", str(tmp_path / "mine.txt")).encode() == data
    assert read_text("no such source", str(tmp_path / "mine.txt")).encode() == data


def test_unknown_source_lists_known_ones():
    assert "stdlib, tinyshakespeare" in one_line_error("shakespeare", "")


def test_missing_file(tmp_path):
    assert "no file" in one_line_error("stdlib", tmp_path / "missing.txt")


def test_unreadable(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot read" in one_line_error("stdlib", tmp_path / "file" / "below")
    assert "cannot read" in one_line_error("stdlib", "a\0b")


def test_empty(tmp_path):
    (tmp_path / "empty.txt").touch()
    assert "is empty" in one_line_error("stdlib", tmp_path / "empty.txt")


def test_not_utf8_names_the_byte(tmp_path):
    (tmp_path / "latin.txt").write_bytes("grün\nblau".encode("latin-1"))
    message = one_line_error("stdlib", tmp_path / "latin.txt")
    assert "byte 0xfc at byte offset 2" in message and "must be UTF-8" in message


def test_a_text_as_documents(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\ntwo\nthree\n", encoding="utf-8")
    assert list(map(str, Source("", str(path)).documents())) == ["one\n\ntwo\nthree\n"]
    assert list(map(str, Source("", str(path), "\n\n").documents())) == ["one", "two\nthree\n"]
    assert list(map(str, Source("", str(path), "\n").documents())) == ["one", "two", "three"]


def test_a_folder_has_a_document_a_file(tmp_path):
    (tmp_path / "b").mkdir()
    for name, text in {"z.txt": "1", "b/a.txt": "2", "empty.txt": "", "c.md": "3"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(map(str, Source("", str(tmp_path)).documents())) == ["2", "1"]


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "é\\n", "id": 3}\n\n{"text": ""}\n{"text": "b\\ud83d\\ude00"}', encoding="utf-8")
    assert list(map(str, Source("", str(path)).documents())) == ["é\n", "b\U0001f600"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"text"', r"a\.jsonl' line 2 is not a JSON object with a string"),
        ("a.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", b'{"text": 3}\n', "line 1 is not a JSON object"),
        ("a.jsonl", b'{"text": "\xff"}\n', "line 1 is not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b\\ud83d"}\n', r"a\.jsonl' line 2 has '\\ud83d' at character 1 of its"),
        ("a.jsonl", b"\n", "has no text"),
        ("a.txt", b"\n\n", "has no text"),
        ("none.jsonl", None, "no file"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        list(Source("", str(tmp_path / name), "\n").documents())
    assert "\n" not in str(caught.value)
