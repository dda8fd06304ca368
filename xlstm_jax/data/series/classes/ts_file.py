"""Files of the time series classification archives (.ts), and two data sets of the UEA archive that aeon comes with.

A header of lines with "@", then a line per series: channels with ":" between them, values with ",", the class last.
Bagnall et al. 2018, "The UEA multivariate time series classification archive" (arXiv 1811.00075).

| name | series | channels | steps | classes |
|---|---|---|---|---|
| japanese_vowels | 270 + 370 | 12 | 7 to 29 | 9 speakers |
| basic_motions | 40 + 40 | 6 | 100 | 4 activities |
"""

import os
from pathlib import Path

import numpy as np

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, unpacked
from xlstm_jax.data.series.classes.labelled import LabelledSeries, Part, check_series
from xlstm_jax.data.series.table import read_number
from xlstm_jax.errors import UsageError, one_line, shown

ARCHIVE = "aeon/aeon-1.6.0.whl"
SETS = {"japanese_vowels": "JapaneseVowels", "basic_motions": "BasicMotions"}
ARCHIVES[ARCHIVE] = RemoteArchive(
    sources=("pip:aeon==1.6.0",),
    members=tuple(f"{name}/{name}_{part}.ts" for name in SETS.values() for part in ("TRAIN", "TEST")),
    size=1592606,
    sha256="3a726f6370316b5e69009e2b44257e6bbb73cc01db63ec20428450e286b0f0e6",
    tops=("aeon/datasets/data/",),
)


def read(name: str) -> LabelledSeries:
    """The parts "train" and "test" of a data set in `SETS`. Downloads aeon on first use."""
    folder, parts = unpacked(ARCHIVE) / SETS[name], {}
    for part in ("train", "test"):
        channels, parts[part] = read_ts(folder / f"{SETS[name]}_{part.upper()}.ts")
    return LabelledSeries(channels, parts)


def read_ts(path: str | os.PathLike) -> tuple[tuple[str, ...], Part]:
    """The names of the channels, "1", "2"..., and the series of a .ts file with classes and without time stamps.

    Raises:
        UsageError: the file cannot be read or is not of that form, a value is missing, or the channels of a series
            have different lengths.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {one_line(error)}; give a .ts file in UTF-8") from error
    start, names = _header(lines, path)
    series, labels = [], []
    for number, line in enumerate(lines[start:], start=start + 1):
        if not line.strip():
            continue
        where = f"{str(path)!r} line {number}"
        *channels, label = line.strip().split(":")
        if label not in names:
            raise UsageError(f"{where}: {shown(label)} is not one of the classes of @classLabel, {', '.join(names)}")
        series.append(_values(channels, path, number))
        check_series(series[-1], where)
        if series[-1].shape[1] != series[0].shape[1]:
            raise UsageError(f"{where} has {series[-1].shape[1]} channels, and earlier lines {series[0].shape[1]}")
        labels.append(label)
    if not series:
        raise UsageError(f"{str(path)!r} has no series after @data")
    return tuple(str(n + 1) for n in range(series[0].shape[1])), Part(series, np.array(labels))


def _header(lines: list[str], path: Path) -> tuple[int, list[str]]:
    """The number of lines up to @data, and the classes."""
    names: list[str] = []
    for number, line in enumerate(lines):
        words = line.split()
        key = words[0].lower() if words else "#"
        if key == "@data":
            break
        if key == "@timestamps" and words[1:] != ["false"]:
            raise UsageError(f"{str(path)!r} has time stamps; give a .ts file without them (@timeStamps false)")
        if key == "@classlabel":
            names = words[2:] if words[1:2] == ["true"] else []
        if key[0] not in "@#%":
            raise UsageError(f"{str(path)!r} line {number + 1} comes before @data; a .ts file begins with a header")
    else:
        raise UsageError(f"{str(path)!r} has no line @data; give a .ts file of the time series archives")
    if not names:
        raise UsageError(f"{str(path)!r} has no classes; its header needs a line such as '@classLabel true a b'")
    return number + 1, names


def _values(channels: list[str], path: Path, number: int) -> np.ndarray:
    """[T, C]."""
    columns = [
        [read_number(cell, path, number, f"channel {place}") for cell in channel.split(",")]
        for place, channel in enumerate(channels, start=1)
    ]
    if len({len(column) for column in columns}) != 1:
        sizes = ", ".join(str(len(column)) for column in columns) or "no"
        raise UsageError(f"{str(path)!r} line {number}: channels of {sizes} steps; give all of them the same")
    return np.array(columns).T
