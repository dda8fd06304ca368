"""A folder of one's own: forms of files and pictures, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from xlstm_jax.data.pictures import own
from xlstm_jax.data.pictures.codec import CaptionCodec, plain
from xlstm_jax.errors import UsageError

RED = (255, 0, 0)
ROWS = [("a.png", "A red square."), ("in/b.jpg", "Red, on its own"), ("a.png", "Something red")]


def write(folder, **files):
    (folder / "in").mkdir()
    Image.new("RGB", (30, 20), RED).save(folder / "a.png")
    Image.new("RGB", (30, 20), RED).save(folder / "in" / "b.jpg")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return str(folder)


CSV = "caption,file\n" + "".join(f'"{caption}",{file}\n' for file, caption in ROWS)
JSONL = "".join(json.dumps({"file": file, "caption": caption}) + "\n" for file, caption in ROWS)


@pytest.mark.parametrize("files", [{"captions_csv": CSV}, {"captions_jsonl": JSONL}, {"train_csv": CSV}])
def test_forms_of_files(tmp_path, files):
    (part,) = own.read(write(tmp_path, **files)).values()
    assert [one.captions for one in part] == [["A red square.", "Something red"], ["Red, on its own"]]
    assert [one.path.name for one in part] == ["a.png", "b.jpg"]


def test_parts(tmp_path):
    parts = own.read(write(tmp_path, train_csv=CSV, test_jsonl=JSONL))
    assert list(parts) == ["train", "test"] and parts["train"] == parts["test"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no captions\.jsonl or captions\.csv, and no train\.jsonl; give captions of all pictures in one"),
        ({"captions_csv": CSV, "train_csv": CSV}, "has both captions and train; give captions of all"),
        ({"captions_csv": CSV, "test_csv": CSV}, r"has captions\.csv and files by part; give one or the other"),
        ({"captions_csv": CSV, "captions_jsonl": JSONL}, r"has captions\.jsonl and captions\.csv; give one of them"),
        ({"captions_csv": "file,caption\n"}, "has no rows; give a header and a row per caption"),
        ({"captions_csv": "file,text\na.png,b\n"}, "needs one column 'caption'; it has 'file, text'"),
        (
            {"captions_csv": "file,caption\na.png,red, on its own\n"},
            "line 2 has 3 cells, and the header 2; put",
        ),
        ({"captions_csv": "file,caption\na.png, \n"}, "line 2 lacks a file or a caption"),
        ({"captions_jsonl": ""}, "is empty; give a JSON object per line"),
        ({"captions_jsonl": '{"file": "a.png"}\n'}, 'line 1 is not a JSON object with "file" and "caption"; write one'),
        ({"captions_jsonl": '{"file": "a.png", "caption": 3}\n'}, "line 1 lacks a file or a caption"),
        ({"captions_jsonl": '{"file": "c.png", "caption": "a"}\n'}, "line 1: there is no picture '.*c.png'; name it"),
    ],
)
def test_what_is_refused(tmp_path, files, message):
    with pytest.raises(UsageError, match=message) as caught:
        own.read(write(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_not_utf8(tmp_path):
    (tmp_path / "captions.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="give UTF-8 text, a JSON object per line"):
        own.read(str(tmp_path))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "I;16"])
def test_all_kinds_of_pictures(tmp_path, mode):
    """Grey, with a palette or with an alpha channel: each becomes red, green and blue."""
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    Image.new(mode, (30, 20), (0, 0, 0, 255) if mode in ("RGBA", "CMYK") else 0).save(path)
    picture = own.load(path, 16)
    assert picture.shape == (16, 16, 3) and picture.dtype == np.uint8 and (picture < 8).all()


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path):
    """Orientation 6: the camera stood on its side, so that the left column is the top row."""
    image = Image.new("RGB", (20, 20))
    image.paste(RED, (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    picture = own.load(tmp_path / "a.png", 20)
    assert (picture[:8] == RED).all() and not picture[12:].any()


def test_pictures_that_cannot_be_read(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.effect_noise((30, 20), 50).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    for name in ("text.png", "cut.png", "none.png", "", "a\0b"):
        with pytest.raises(UsageError, match=r"cannot read .* as a picture: .*; give a file such as PNG") as caught:
            own.load(tmp_path / name, 16)
        assert "\n" not in str(caught.value)


def test_codec():
    assert plain("A dog's bone, on\nits own.") == "a dog 's bone , on its own ."
    captions = [plain(caption) for _, caption in ROWS] + ["something red"]
    codec = CaptionCodec.of(captions, least=2)
    assert codec.commonest == "something red"
    tokens = codec.encode_target("something red on")
    assert codec.decode_target(np.pad(tokens, (0, 3))) == "something red ?" and tokens[-1] == codec.end
    assert codec.target_pieces(tokens) == ["something", "red", "?", "."]
    written = json.loads(json.dumps(codec.to_json()))
    assert CaptionCodec.from_json(written).to_json() == written
    for damaged in ({}, {"kind": "captions"}, written | {"commonest": None}, written | {"words": {}}, []):
        with pytest.raises(UsageError, match="the codec is damaged"):
            CaptionCodec.from_json(damaged)
