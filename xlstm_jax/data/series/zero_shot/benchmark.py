"""Data sets that zero-shot forecasters are compared on, cut into windows, with the seasonal naive forecast of each.

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

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.series.anomalies import nab
from xlstm_jax.data.series.forecasts import m4
from xlstm_jax.data.series.forecasts.published import load as load_published
from xlstm_jax.data.series.table import Table
from xlstm_jax.errors import UsageError, shown

PARTS = ("train", "validation", "test")
MOST_WINDOWS = 13  # of a series of NAB, in validation and in testing


class Series(NamedTuple):
    """One series.

    Attributes:
        values_T: float64, NaN where missing.
        covariates_TC: float64, NaN where missing.
        validation, test: first steps of these parts; the steps before are for training.
    """

    values_T: np.ndarray
    covariates_TC: np.ndarray
    validation: int
    test: int

    def bounds(self, part: str) -> tuple[int, int]:
        """First step of a part, and the first one after it."""
        ends = {"train": (0, self.validation), "validation": (self.validation, self.test)}
        return ends.get(part, (self.test, len(self.values_T)))


@dataclasses.dataclass(frozen=True)
class SeriesSet:
    """Series that are forecast alike.

    Attributes:
        name: of the data set.
        series: all of them.
        season: steps after which a series resembles itself; 1: none.
        horizon: steps that are forecast.
        future_C: bools: which covariates are known ahead.
    """

    name: str
    series: tuple[Series, ...]
    season: int
    horizon: int
    future_C: tuple[bool, ...] = ()

    def windows(self, part: str) -> Iterator[tuple[int, int]]:
        """Number of the series and first step of each window of a part, one after another without overlap.

        Windows of which nothing is known, or before which nothing is, are left out.
        """
        for number, series in enumerate(self.series):
            first, end = series.bounds(part)
            for start in range(first, end - self.horizon + 1, self.horizon):
                known_T = np.isfinite(series.values_T)
                if known_T[start : start + self.horizon].any() and known_T[:start].any():
                    yield number, start

    def scores(self, number: int, start: int, reference: str = "seasonal_naive") -> tuple[float, float]:
        """For a window: the scale of its MASE, and the mean absolute error of the reference forecast.

        The scale is the `seasonal_error` of all that precedes the window; 0 if it is unknown.
        """
        past_T, truth_H = np.split(self.series[number].values_T[: start + self.horizon], [start])
        scale = seasonal_error(past_T, self.season)
        error_H = np.abs(truth_H - REFERENCES[reference](past_T, self.season, self.horizon))
        return (scale if np.isfinite(scale) else 0.0), float(np.nanmean(error_H))


def seasonal_naive(past_T: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """[H]: the last season again. A missing value is that of a season earlier, or else the last value known."""
    season = min(season, len(past_T))
    cycle = past_T[len(past_T) - season * (len(past_T) // season) :].reshape(-1, season)
    known = np.isfinite(cycle)
    latest = len(cycle) - 1 - np.argmax(known[::-1], axis=0)
    last_S = cycle[latest, np.arange(season)]
    last_S = np.where(known.any(axis=0), last_S, past_T[np.isfinite(past_T)][-1])
    return last_S[np.arange(horizon) % season]


def auto_ets(past_T: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """[H]: exponential smoothing whose form is chosen by its AICc (Hyndman et al. 2008), by statsforecast.

    Missing values are interpolated. The package takes seasons of up to 24 steps; for longer ones there is none.
    """
    try:
        from statsforecast.models import AutoETS
    except ImportError as error:
        raise UsageError(
            "data.reference auto_ets needs statsforecast, which is not installed (pip install statsforecast)"
        ) from error
    known_T, times_T = np.isfinite(past_T), np.arange(len(past_T))
    filled_T = np.interp(times_T, times_T[known_T], past_T[known_T])
    return AutoETS(season_length=season).forecast(y=filled_T, h=horizon)["mean"]


REFERENCES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "seasonal_naive": seasonal_naive,
    "auto_ets": auto_ets,
}


def seasonal_error(past_T: np.ndarray, season: int) -> float:
    """Mean of |y_t - y_{t-season}| over the known values, the scale of MASE (Hyndman & Koehler 2006); or NaN."""
    changes_T = past_T[season:] - past_T[:-season]
    known_T = changes_T[np.isfinite(changes_T)]
    return float(np.abs(known_T).mean()) if known_T.size else float("nan")


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
