"""Series that are watched for anomalies: how they are read, and what is refused.

The first rows of each series, its calibration part, are taken as normal. Everything a detector learns comes from them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from xlstm_jax.data.codecs import saved_names
from xlstm_jax.data.series.table import read_csv
from xlstm_jax.errors import UsageError, shown

FEWEST = 32  # rows of a calibration part
SHARE, MOST = 0.15, 5000  # of the rows, for calibration: of at most that many (Lavin & Ahmad 2015)


class Monitored(NamedTuple):
    """A series of one or several channels.

    Attributes:
        name: for people.
        times_N: [rows], datetime64[s]; None without dates.
        values_NC: [rows, channels], float64, all finite.
        calibration: number of first rows that are taken as normal.
        anomalous_N: [rows], bool, true states; None if they are unknown.
        windows: first and last row of each labelled window around an anomaly.
    """

    name: str
    times_N: np.ndarray | None
    values_NC: np.ndarray
    calibration: int
    anomalous_N: np.ndarray | None = None
    windows: tuple[tuple[int, int], ...] = ()


class Channels:
    """The codec: names of the channels."""

    kind = "channels"

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        names = saved_names(data, cls.kind)
        if not names:
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs names, one at least")
        return cls(names)


def calibration_rows(rows: int) -> int:
    """Rows of the calibration part unless a number is given: 15% of all, and 15% of 5,000 at most."""
    return int(SHARE * min(rows, MOST))


def checked(name: str, times_N: np.ndarray | None, values_NC: np.ndarray, calibration: int, channels: Sequence[str]):
    """A series that a user gives, without labels. `calibration` is a number of rows, or 0 for `calibration_rows`.

    Raises:
        UsageError: a value is missing, there are too few rows, or a channel is constant in the calibration part.
    """
    if (missing := np.argwhere(~np.isfinite(values_NC))).size:
        row, column = missing[0]
        raise UsageError(
            f"{name!r}: {channels[column]} is missing in row {row + 1:,} of the data; fill it in, or leave the row out"
        )
    rows, asked = len(values_NC), calibration or calibration_rows(len(values_NC))
    if asked < FEWEST or rows <= asked:
        needed = calibration + 1 if calibration >= FEWEST else -(-FEWEST * 100 // 15)
        raise UsageError(
            f"{name!r} has {rows:,} rows, too few to calibrate on the first {asked:,}; give at least {needed:,}, or "
            f"set data.calibration ({FEWEST} rows or more)"
        )
    still_C = np.ptp(values_NC[:asked], axis=0) == 0
    if still_C.any():
        column = int(np.argmax(still_C))
        raise UsageError(
            f"{name!r}: {channels[column]} is always {values_NC[0, column]:g} in the first {asked:,} rows, so that "
            "nothing normal can be learned; leave the column out, or set data.calibration to more rows"
        )
    return Monitored(name, times_N, values_NC, asked)


def read_file(path: Path, *, time: str, label: str, calibration: int, channels: Sequence[str] = ()) -> Monitored:
    """A series from a CSV file, with its true states if the file has the column `label`.

    Args:
        path: of the file.
        time: name of its column of dates; "": none.
        label: name of a column with 1 in anomalous rows and 0 elsewhere; "": none.
        calibration: see `checked`.
        channels: columns to read; empty: all others. A single channel may have another name in the file.
    """
    table = read_csv(path, time=time)
    others = [name for name in table.names if name != label]
    if len(channels) == 1 == len(others):
        channels = others
    channels = tuple(channels) or tuple(others)
    if not channels:
        raise UsageError(f"{str(path)!r} has no column of values; it has {shown(', '.join(table.names) or time)}")
    for name in (*channels, *([label] if label else [])):
        if name not in table.names:
            raise UsageError(f"{str(path)!r} has no column {shown(name)}; it has {shown(', '.join(table.names), 300)}")
    anomalous_N = None
    if label:
        anomalous_N = table.values_NC[:, table.names.index(label)] == 1
        if not np.isin(table.values_NC[:, table.names.index(label)], (0, 1)).all():
            raise UsageError(f"{str(path)!r}: column {label!r} must be 1 in anomalous rows and 0 in all others")
    values_NC = table.values_NC[:, [table.names.index(name) for name in channels]]
    series = checked(str(path), table.times_N, values_NC, calibration, channels)
    return series._replace(anomalous_N=anomalous_N)


def read_own(path: str, *, time: str, label: str, calibration: int) -> tuple[Channels, list[Monitored]]:
    """The channels and the series of a CSV file, or of all CSV files of a folder, in the order of names.

    All files have the columns of the first.
    """
    found = sorted(Path(path).glob("*.csv")) if Path(path).is_dir() else [Path(path)]
    if not found:
        raise UsageError(f"the folder {path!r} has no CSV file; put a file per series into it")
    names = [name for name in read_csv(found[0], time=time).names if name != label]
    options = {"time": time, "label": label, "calibration": calibration}
    return Channels(names), [read_file(one, channels=names, **options) for one in found]
