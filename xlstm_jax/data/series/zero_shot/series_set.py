"""Sets of series that are forecast alike, cut into windows, and the forecasts that others are compared with."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from xlstm_jax.errors import UsageError, optional


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


def check_horizons(sets: Iterable[SeriesSet], most: int) -> None:
    """Raises `UsageError` if more than `most` steps are forecast of a set."""
    for one in sets:
        if one.horizon > most:
            raise UsageError(
                f"data.horizon {most} is below the {one.horizon} steps that are forecast of {one.name!r}; raise it"
            )


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
    models = optional("statsforecast.models", "data.reference auto_ets needs", "statsforecast")
    known_T, times_T = np.isfinite(past_T), np.arange(len(past_T))
    filled_T = np.interp(times_T, times_T[known_T], past_T[known_T])
    return models.AutoETS(season_length=season).forecast(y=filled_T, h=horizon)["mean"]


REFERENCES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "seasonal_naive": seasonal_naive,
    "auto_ets": auto_ets,
}


def seasonal_error(past_T: np.ndarray, season: int) -> float:
    """Mean of |y_t - y_{t-season}| over the known values, the scale of MASE (Hyndman & Koehler 2006); or NaN."""
    changes_T = past_T[season:] - past_T[:-season]
    known_T = changes_T[np.isfinite(changes_T)]
    return float(np.abs(known_T).mean()) if known_T.size else float("nan")
