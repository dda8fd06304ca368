"""Labelled series in files of the user's own: CSV with a row per series or per time step, nucleotides, or .ts."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.parts import part_files
from xlstm_jax.data.series.classes import nucleotides
from xlstm_jax.data.series.classes.labelled import LabelledSeries, Part, check_series
from xlstm_jax.data.series.classes.ts_file import read_ts
from xlstm_jax.data.series.table import read_number, read_rows
from xlstm_jax.errors import UsageError, shown

SUFFIXES = (".csv", ".tsv", ".txt", ".ts")


class Columns(NamedTuple):
    """Which columns of a CSV file are what.

    With `series`, each row is a time step of the series that it names. With `sequence`, each row has one cell of
    nucleotides. Otherwise each row is a whole series of one channel.
    """

    label: str
    series: str = ""
    sequence: str = ""
    channels: tuple[str, ...] = ()  # with `series`: what to read; empty: all other columns


def read(path: str, columns: Columns) -> LabelledSeries:
    """The series of a file (all are "train"), or of a folder with a file for training, and perhaps others.

    In a folder, names without their ending are train, validation and test, or end in _TRAIN, _VALIDATION and _TEST, as
    in the time series archives.

    Raises:
        UsageError: a file is missing, damaged or of another form, or two parts have different channels.
    """
    root, parts, found = Path(path).expanduser(), {}, {}
    for name, file in _files(root).items():
        found[name], parts[name] = _read_file(file, columns)
        if found[name] != found["train"]:
            raise UsageError(f"{str(file)!r} has the channels {found[name]}, and the training part {found['train']}")
    return LabelledSeries(found["train"], parts)


def _files(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {"train": root}
    files = part_files(root, SUFFIXES)
    if "train" not in files:
        raise UsageError(f"{str(root)!r} has no file train.csv, train.tsv or train.ts; add one, or give a file's path")
    return files


def _read_file(path: Path, columns: Columns) -> tuple[tuple[str, ...], Part]:
    if path.suffix.lower() == ".ts":
        return read_ts(path)
    rows = read_rows(path)
    header = [cell.strip() for cell in rows[0][1]]
    if columns.series or columns.sequence:
        for name in filter(None, (columns.label, columns.series, columns.sequence, *columns.channels)):
            if header.count(name) != 1:
                count = header.count(name)
                found = f"{count} columns" if count else "no column"
                raise UsageError(f"{str(path)!r} has {found} {shown(name)}; it has {shown(', '.join(header), 300)}")
    if columns.sequence:
        return _sequences(rows, header, columns, path)
    return _by_step(rows, header, columns, path) if columns.series else _by_series(rows, header, columns, path)


def _sequences(rows, header, columns: Columns, path: Path) -> tuple[tuple[str, ...], Part]:
    label, place = header.index(columns.label), header.index(columns.sequence)
    series, labels = [], []
    for number, row in rows[1:]:
        where = f"{str(path)!r} line {number}"
        _check_width(row, header, where)
        series.append(nucleotides.encode(row[place].strip(), where))
        check_series(series[-1], where)
        labels.append(_label(row[label], where))
    return nucleotides.BASES, Part(series, np.array(labels))


def _by_series(rows, header, columns: Columns, path: Path) -> tuple[tuple[str, ...], Part]:
    """A class and then the values, as in the UCR archive, or a header that names the column of classes."""
    titled = columns.label in header
    if not titled and not all(_is_number(cell) for cell in header[1:]):
        raise UsageError(
            f"{str(path)!r} has no column {shown(columns.label)}; name the column of classes with data.label, or give "
            "rows without a header, each a class and then numbers"
        )
    place, series, labels = header.index(columns.label) if titled else 0, [], []
    for number, row in rows[titled:]:
        where = f"{str(path)!r} line {number}"
        if len(row) <= place or (len(row) > len(header) and titled):
            raise UsageError(f"{where} has {len(row)} cells, and the header {len(header)}")
        cells = row[:place] + row[place + 1 :]
        values_T = np.array([read_number(cell, path, number, f"cell {n}") for n, cell in enumerate(cells, 1)])
        series.append(_without_end(values_T)[:, None])
        check_series(series[-1], where)
        labels.append(_label(row[place], where))
    return ("value",), Part(series, np.array(labels))


def _by_step(rows, header, columns: Columns, path: Path) -> tuple[tuple[str, ...], Part]:
    names = columns.channels or tuple(n for n in header if n not in (columns.label, columns.series))
    key, label = header.index(columns.series), header.index(columns.label)
    places = [header.index(name) for name in names]
    values: dict[str, list[list[float]]] = {}
    labels: dict[str, str] = {}
    for number, row in rows[1:]:
        where = f"{str(path)!r} line {number}"
        _check_width(row, header, where)
        name = row[key].strip()
        if labels.setdefault(name, _label(row[label], where)) != row[label].strip():
            raise UsageError(f"{where}: series {shown(name)} was {shown(labels[name])} before; give it one class")
        step = [read_number(row[place], path, number, header[place]) for place in places]
        values.setdefault(name, []).append(step)
    series = [np.array(steps) for steps in values.values()]
    for name, values_TC in zip(values, series, strict=True):
        check_series(values_TC, f"series {shown(name)} of {str(path)!r}")
    return names, Part(series, np.array(list(labels.values())))


def _check_width(row: Sequence[str], header: Sequence[str], where: str) -> None:
    if len(row) != len(header):
        raise UsageError(f"{where} has {len(row)} cells, and the header {len(header)}")


def _label(cell: str, where: str) -> str:
    if not cell.strip():
        raise UsageError(f"{where} has no class; give one, or leave the line out")
    return cell.strip()


def _without_end(values_T: np.ndarray) -> np.ndarray:
    """Without missing values at the end, which pad a series to the width of the table."""
    known_N = np.flatnonzero(~np.isnan(values_T))
    return values_T[: known_N[-1] + 1 if len(known_N) else 0]


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True
