"""Tables of series: CSV files with a row per time step, checked line by line."""

import csv
import datetime
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlstm_jax.errors import UsageError, one_line, shown

_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in _MISSING


def is_table(text: str) -> bool:
    """Whether an input that a user gives is the path of a table, and not the numbers themselves."""
    return text.strip().lower().endswith((".csv", ".tsv", ".txt"))


class Table(NamedTuple):
    """Columns of numbers over time.

    Attributes:
        names: of the columns.
        values_NC: [rows, columns], float64; NaN where a value is missing.
        times_N: [rows], datetime64[s], strictly increasing; None for a table without a time column.
    """

    names: tuple[str, ...]
    values_NC: np.ndarray
    times_N: np.ndarray | None


def read_csv(path: str | os.PathLike, *, time: str = "", columns: Sequence[str] = ()) -> Table:
    """Reads a CSV file with a header: columns of numbers, and perhaps one of times, in the order of time.

    Args:
        path: of a UTF-8 file, whose delimiter is a comma, a semicolon or a tab.
        time: name of the time column, with ISO 8601 dates such as 2016-07-01 or 2016-07-01 00:15:00; "": the table has
            none.
        columns: the columns to read, in this order; empty: all but the time column.

    Raises:
        UsageError: the file cannot be read, a column is missing or given twice, a row has another number of cells, a
            cell is no number or no date, or the dates are not in order; or there is no column of numbers.
    """
    (_, header), *rows = read_rows(path)
    header = [name.strip() for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UsageError(f"{str(path)!r} has two columns named {shown(twice[0])}; rename one")
    columns = tuple(columns) or tuple(name for name in header if name != time)
    if not columns:
        raise UsageError(f"{str(path)!r} has no column but {shown(time)}; give one with numbers")
    for name in (*columns, *([time] if time else [])):
        if name not in header:
            raise UsageError(f"{str(path)!r} has no column {shown(name)}; it has {shown(', '.join(header), 300)}")
    for number, row in rows:
        if len(row) != len(header):
            raise UsageError(f"{str(path)!r} line {number} has {len(row)} cells, and the header {len(header)}")
    places = [header.index(name) for name in columns]
    values_NC = np.array(
        [[read_number(row[place], path, number, header[place]) for place in places] for number, row in rows],
        np.float64,
    ).reshape(-1, len(columns))
    return Table(columns, values_NC, _times(rows, header.index(time), path) if time else None)


def read_rows(path: str | os.PathLike, wanted: str = "a header and a row per time step") -> list[tuple[int, list[str]]]:
    """Line number and cells of each row of a CSV file, at least two, the header first; see `read_csv`.

    `wanted` is what the file holds, for messages.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {one_line(error)}; give a CSV file in UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        # Not `splitlines`, which loses the line breaks inside quotes.
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UsageError(f"{str(path)!r} is not a CSV file: {one_line(error)}") from error
    if len(rows) < 2:
        raise UsageError(f"{str(path)!r} has no rows; give {wanted}")
    return rows


def read_number(cell: str, path: str | os.PathLike, number: int, name: str) -> float:
    """The number in the column `name` of line `number`; NaN if it is missing."""
    if is_missing(cell):
        return np.nan
    cell = cell.strip()
    try:
        value = float(cell)
    except ValueError as error:
        raise UsageError(
            f"{str(path)!r} line {number}: {name} {shown(cell)} is not a number; leave the column out, or correct it"
        ) from error
    if np.isinf(value):
        raise UsageError(f"{str(path)!r} line {number}: {name} {shown(cell)} is not finite")
    return value


def _times(rows: list[tuple[int, list[str]]], place: int, path: str | os.PathLike) -> np.ndarray:
    times = []
    for number, row in rows:
        try:
            time = datetime.datetime.fromisoformat(row[place].strip())
        except ValueError as error:
            raise UsageError(
                f"{str(path)!r} line {number}: {shown(row[place])} is not a date; write it like 2016-07-01 00:15:00"
            ) from error
        if time.tzinfo is not None:
            time = time.astimezone(datetime.UTC).replace(tzinfo=None)
        if times and time <= times[-1]:
            raise UsageError(
                f"{str(path)!r} line {number}: {time} does not come after {times[-1]}; sort the rows by time and keep "
                "one per time"
            )
        times.append(time)
    return np.array(times, "datetime64[s]")
