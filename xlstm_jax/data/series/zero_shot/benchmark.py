"""Data sets that zero-shot forecasters are compared on, and a file of the user's own.

| name | series | horizon | season | forecast are |
|---|---|---|---|---|
| m4_hourly | 414 | 48 hours | 24 | the competition's last 48 hours |
| ett_h1 | 7 | 96 hours | 24 | the published test part, a window after another |
| exchange | 8 | 30 days | 5 | the same |
| illness | 7 | 24 weeks | 52 | the same |
| pollution | 1, PM2.5 | 48 hours | 24 | the last 20% |
| nab | 37 of servers, roads and tweets | 64 times 5 minutes | 288 | the end, without what is labelled an anomaly |

Horizons and seasons are those of the Chronos benchmark (Ansari et al. 2024) for M4 and the exchange rates, and of the
usual comparisons on ETTh1 and illness (Zhou et al. 2021; Wu et al. 2021). Every window is forecast from what precedes
it, and windows do not overlap.
"""

from collections.abc import Callable, Sequence

import numpy as np

from xlstm_jax.data.series.anomalies import nab
from xlstm_jax.data.series.forecasts import m4
from xlstm_jax.data.series.forecasts.published import load as load_published
from xlstm_jax.data.series.table import Table, read_csv
from xlstm_jax.data.series.zero_shot.series_set import Series, SeriesSet
from xlstm_jax.errors import UsageError, shown

PARTS = ("train", "validation", "test")
MOST_WINDOWS = 13  # of a series of NAB, in validation and in testing
SHARES = (0.7, 0.1, 0.2)  # of a CSV file, for training, validation and testing


def of_table(
    table: Table,
    split: Sequence[float],
    season: int,
    horizon: int,
    *,
    name: str,
    targets: Sequence[str],
    covariates: Sequence[str] = (),
    known: Sequence[str] = (),
) -> SeriesSet:
    """A series for each target of a table.

    Args:
        table: of all columns.
        split: rows for training, validation and testing, or shares of all rows.
        season, horizon, name: of the set.
        targets: columns to forecast.
        covariates, known: columns that all of them depend on; the latter are known ahead.

    Raises:
        UsageError: a column is missing, or a part is shorter than the horizon.
    """
    if unknown := [column for column in (*targets, *covariates, *known) if column not in table.names]:
        raise UsageError(
            f"there is no column {shown(unknown[0])}; the columns are {shown(', '.join(table.names), 300)}"
        )
    rows = len(table.values_NC)
    sizes = [int(part) for part in split] if max(split) > 1 else [int(rows * part) for part in split]
    whole = sum(sizes) if max(split) > 1 else rows
    train, test = sizes[0], whole - sizes[2]
    for part, size in zip(PARTS, (train, test - train, whole - test), strict=True):
        if size < horizon:
            raise UsageError(f"the {part} part has {size:,} rows, too few for a horizon of {horizon}; lower data.ahead")
    values_NC = table.values_NC[:whole]
    numbers = [table.names.index(column) for column in (*covariates, *known)]
    series = (Series(values_NC[:, table.names.index(target)], values_NC[:, numbers], train, test) for target in targets)
    future_C = (*(False for _ in covariates), *(True for _ in known))
    return SeriesSet(name, tuple(series), season, horizon, future_C)


def own(
    path: str,
    time: str,
    targets: Sequence[str],
    covariates: Sequence[str],
    known: Sequence[str],
    *,
    season: int,
    horizon: int,
) -> SeriesSet:
    """The set "own", of a user's CSV file with a header and a row per time step.

    Args:
        path: of the file.
        time: its column of dates; "": none.
        targets: columns to forecast; none: all that are not covariates.
        covariates, known, season, horizon: as in `of_table`.

    Raises:
        UsageError: as `read_csv` and `of_table`.
    """
    table = read_csv(path, time=time)
    targets = targets or tuple(name for name in table.names if name not in {*covariates, *known})
    roles = {"targets": targets, "covariates": covariates, "known": known}
    return of_table(table, SHARES, season, horizon, name="own", **roles)


def _published(name: str, horizon: int, season: int = 0) -> SeriesSet:
    source = load_published(name)
    table = source.read()
    targets = source.targets or table.names
    return of_table(table, source.split, season or source.season, horizon, name=name, targets=targets)


def _m4_hourly() -> SeriesSet:
    _, train, test_SH = m4.read()
    series = []
    for values_T, future_H in zip(train, test_SH, strict=True):
        whole_T, end = np.concatenate([values_T, future_H]), len(values_T)
        series.append(Series(whole_T, np.zeros((len(whole_T), 0)), end - m4.HORIZON, end))
    return SeriesSet("m4_hourly", tuple(series), m4.SEASON, m4.HORIZON)


def _nab() -> SeriesSet:
    """The real series with a value every 5 minutes; the windows around anomalies are missing."""
    season, horizon, series = 288, 64, []
    for one in nab.read("real")[1]:
        if np.median(np.diff(one.times_N)) != np.timedelta64(300, "s"):
            continue
        values_T, rows = one.values_NC[:, 0].copy(), len(one.values_NC)
        for first, last in one.windows:
            values_T[first : last + 1] = np.nan
        test = max(int(0.8 * rows), rows - MOST_WINDOWS * horizon)
        validation = max(int(0.7 * rows), test - MOST_WINDOWS * horizon)
        series.append(Series(values_T, np.zeros((rows, 0)), validation, test))
    return SeriesSet("nab", tuple(series), season, horizon)


SETS: dict[str, Callable[[], SeriesSet]] = {
    "m4_hourly": _m4_hourly,
    "ett_h1": lambda: _published("ett_h1", 96),
    "exchange": lambda: _published("exchange", 30, season=5),  # business days
    "illness": lambda: _published("illness", 24),
    "pollution": lambda: _published("pollution", 48),
    "nab": _nab,
}


def load(name: str) -> SeriesSet:
    """The data set of that name; its files are downloaded on first use."""
    if name not in SETS:
        raise UsageError(f"the data set {name!r} is unknown; known: {', '.join(SETS)}")
    return SETS[name]()
