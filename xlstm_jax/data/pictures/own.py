"""A folder of the user's own: pictures, and a file with their captions."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from xlstm_jax.data.lines import read_lines, read_object
from xlstm_jax.data.series.table import read_rows
from xlstm_jax.errors import UsageError, one_line, shown

PARTS = ("train", "validation", "test")
WHOLE = "captions"  # name of a file that holds all parts
SUFFIXES = (".jsonl", ".csv")
FIELDS = ("file", "caption")


class Captioned(NamedTuple):
    """A picture and one or several captions of it."""

    path: Path
    captions: list[str]


def read(path: str) -> dict[str, list[Captioned]]:
    """The pictures in a folder with captions.jsonl or captions.csv (all are "train"), or with such files by part:

        train.jsonl    JSON objects with "file" and "caption"
        train.csv      a header and rows with the columns file and caption

    and perhaps the same of validation and test. A file is named from the folder. A picture with several
    captions has a line for each.

    Raises:
        UsageError: there are no captions, a file is damaged or of another form, or a picture is missing.
    """
    folder = Path(path).expanduser()
    found = {name: file for name in (WHOLE, *PARTS) if (file := _file(folder, name))}
    if (WHOLE in found) == ("train" in found):
        what = "both captions and train" if found else "no captions.jsonl or captions.csv, and no train.jsonl"
        raise UsageError(f"{str(folder)!r} has {what}; give captions of all pictures in one file, or a file per part")
    if WHOLE in found and len(found) > 1:
        raise UsageError(f"{str(folder)!r} has {found[WHOLE].name} and files by part; give one or the other")
    return {"train" if name == WHOLE else name: _read(folder, file) for name, file in found.items()}


def _file(folder: Path, name: str) -> Path | None:
    files = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()]
    if len(files) > 1:
        raise UsageError(f"{str(folder)!r} has {files[0].name} and {files[1].name}; give one of them")
    return files[0] if files else None


def _read(folder: Path, path: Path) -> list[Captioned]:
    captions: dict[Path, list[str]] = {}
    for number, file, caption in _objects(path) if path.suffix == ".jsonl" else _rows(path):
        where = f"{str(path)!r} line {number}"
        if not isinstance(file, str) or not isinstance(caption, str) or not file.strip() or not caption.strip():
            raise UsageError(f'{where} lacks a file or a caption; "file" and "caption" are texts')
        picture = folder / file.strip()
        if picture not in captions and not picture.is_file():
            raise UsageError(f"{where}: there is no picture {shown(str(picture), 200)}; name it from the folder")
        captions.setdefault(picture, []).append(caption.strip())
    return [Captioned(*one) for one in captions.items()]


def _objects(path: Path):
    for number, line in enumerate(read_lines(path, "a JSON object"), start=1):
        yield number, *read_object(line, f"{str(path)!r} line {number}", *FIELDS)


def _rows(path: Path):
    (_, header), *rows = read_rows(path, "a header and a row per caption")
    header = [cell.strip() for cell in header]
    if missing := [name for name in FIELDS if header.count(name) != 1]:
        raise UsageError(f"{str(path)!r} needs one column {missing[0]!r}; it has {shown(', '.join(header), 200)}")
    for number, row in rows:
        if len(row) != len(header):
            raise UsageError(
                f"{str(path)!r} line {number} has {len(row)} cells, and the header {len(header)}; put captions with "
                "commas in quotation marks"
            )
        yield number, *(row[header.index(name)] for name in FIELDS)


def load(path: str | os.PathLike, size: int) -> np.ndarray:
    """A picture, uint8 [size, size, 3], whatever its form was; turned as its camera was held.

    Raises:
        UsageError: it cannot be read as a picture.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB").resize((size, size)))
    # Pillow's plugins for each format have their own errors.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UsageError(
            f"cannot read {shown(str(path), 200)} as a picture: {one_line(error, 90)}; give a file such as PNG or JPEG"
        ) from error
