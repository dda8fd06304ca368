"""Files and folders are replaced atomically."""

import json

import pytest

from xlstm_jax.files import replacing, write_json


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "loss.png"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.suffix == ".png"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_body_that_fails_leaves_no_trace(tmp_path, kind):
    path = tmp_path / "tokens"
    path.write_text("old")
    with pytest.raises(OSError, match="disk is full"), replacing(path) as temporary:
        if kind == "folder":
            temporary.mkdir()
            (temporary / "part").write_text("new")
        elif kind == "file":
            temporary.write_text("new")
        raise OSError("disk is full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def write(path, content):
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "config.json").write_text(content)


def test_a_folder_takes_an_empty_ones_place_and_no_other(tmp_path):
    path = tmp_path / "model-1.3b"
    path.mkdir()
    write(path, "first")
    with pytest.raises(OSError, match="not empty"):
        write(path, "second")
    assert (path / "config.json").read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_json_is_whole_or_not_there(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"b": 1, "a": [1.5, "é"]})
    before = path.read_bytes()
    assert json.loads(before) == {"b": 1, "a": [1.5, "é"]}
    with pytest.raises(TypeError):
        write_json(path, {"b": object()})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
