"""Data sets that zero-shot forecasters are compared on, cut into windows, with the seasonal naive forecast of each.

| name | series | horizon | season | forecast are |
|---|---|---|---|---|
| m4_hourly | 414 | 48 hours | 24 | the competition's last 48 hours |
| ett_h1 | 7 | 96 hours | 24 | the published test part, a window after another |
| exchange | 8 | 30 days | 1 | the same |
| illness | 7 | 24 weeks | 52 | the same |
| pollution | 1, PM2.5 | 48 hours | 24 | the last 20% |

Horizons are those of the Chronos benchmark (Ansari et al. 2024) for M4 and the exchange rates, and of the usual comparisons
on ETTh1 and illness (Zhou et al. 2021; Wu et al. 2021). Every window is forecast from what precedes it, and windows do not
overlap.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.series import m4
from xlstm_jax.data.series.published import load as load_published
from xlstm_jax.data.series.table import Table
from xlstm_jax.errors import UsageError

PARTS = ("train", "validation", "test")


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
class Collection:
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


def seasonal_naive(past_T: np.ndarray, season: int, horizon: int, levels: Sequence[float]) -> np.ndarray:
    """[H, Q] quantiles: y_{T+h} ~ N(y of the last season at that place, s^2 k), k = floor((h - 1) / season) + 1.

    s^2 is the mean of (y_t - y_{t-season})^2 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, section 5.5).
    A missing value is that of a season earlier, else the last one known.
    """
    from scipy.special import ndtri

    season = min(season, len(past_T))
    cycle = past_T[len(past_T) - season * (len(past_T) // season) :].reshape(-1, season)
    known = np.isfinite(cycle)
    latest = len(cycle) - 1 - np.argmax(known[::-1], axis=0)
    last_S = cycle[latest, np.arange(season)]
    last_S = np.where(known.any(axis=0), last_S, past_T[np.isfinite(past_T)][-1])
    step_H = np.arange(horizon)
    spread_H = np.sqrt((step_H // season + 1) * _mean(_changes(past_T, season) ** 2))
    return last_S[step_H % season][:, None] + spread_H[:, None] * ndtri(np.asarray(levels))


def seasonal_error(past_T: np.ndarray, season: int) -> float:
    """Mean of |y_t - y_{t-season}| over the values known: the scale of MASE (Hyndman & Koehler 2006); NaN if none is."""
    return _mean(np.abs(_changes(past_T, season)))


def _changes(past_T: np.ndarray, season: int) -> np.ndarray:
    changes_T = past_T[season:] - past_T[:-season]
    return changes_T[np.isfinite(changes_T)]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _of_table(name: str, table: Table, split: tuple[int, int], season: int, horizon: int, targets: Sequence[str]) -> Collection:
    """A series for each target, without covariates; `split` has the first rows for validation and for testing."""
    columns = [table.values_NC[:, table.names.index(target)] for target in targets]
    none = np.zeros((len(table.values_NC), 0))
    return Collection(name, tuple(Series(column, none, *split) for column in columns), season, horizon)


def _published(name: str, horizon: int) -> Collection:
    source = load_published(name)
    table = source.read()
    shares = source.split
    whole = sum(shares) if max(shares) > 1 else len(table.values_NC)
    sizes = shares if max(shares) > 1 else [share * whole for share in shares]
    rows = table._replace(values_NC=table.values_NC[: int(whole)])
    split = int(sizes[0]), int(whole) - int(sizes[2])
    return _of_table(name, rows, split, source.season, horizon, source.targets or table.names)


def _m4_hourly() -> Collection:
    _, train, test_SH = m4.read()
    series = []
    for values_T, future_H in zip(train, test_SH, strict=True):
        whole_T, end = np.concatenate([values_T, future_H]), len(values_T)
        series.append(Series(whole_T, np.zeros((len(whole_T), 0)), end - m4.HORIZON, end))
    return Collection("m4_hourly", tuple(series), m4.SEASON, m4.HORIZON)


SETS: dict[str, Callable[[], Collection]] = {
    "m4_hourly": _m4_hourly,
    "ett_h1": lambda: _published("ett_h1", 96),
    "exchange": lambda: _published("exchange", 30),
    "illness": lambda: _published("illness", 24),
    "pollution": lambda: _published("pollution", 48),
}


def load(name: str) -> Collection:
    """The data set of that name; its files are downloaded on first use."""
    if name not in SETS:
        raise UsageError(f"the data set {name!r} is unknown; known: {', '.join(SETS)}")
    return SETS[name]()
