"""The hourly series of the M4 competition and its measures: sMAPE, MASE, OWA.

Makridakis, Spiliotis & Assimakopoulos 2020, "The M4 Competition: 100,000 time series and 61 forecasting methods"
(International Journal of Forecasting 36): 414 hourly series of 700 to 960 hours; the 48 hours that follow are forecast.
"""

import csv

import numpy as np

from xlstm_jax.data.download import FILES, RemoteFile, fetch, github

HORIZON, SEASON = 48, 24
NAIVE2 = 18.383, 2.395  # sMAPE and MASE of Naive2 on the test part, as published; `naive2` gives the same

_COMMIT = "6c1067e5a57161249b17289a565178dc7a3fb3ca"
for _part, _folder, _sha256 in (
    ("train", "Train", "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f"),
    ("test", "Test", "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42"),
):
    _path = f"Dataset/{_folder}/Hourly-{_part}.csv"
    FILES[f"m4/Hourly-{_part}.csv"] = RemoteFile(github("Mcompetitions/M4-methods", _COMMIT, _path), _sha256)


def read() -> tuple[list[str], list[np.ndarray], np.ndarray]:
    """Names, series for training (each [T], float64), and what follows, [S, 48]. Downloads the files on first use."""
    parts = []
    for part in ("train", "test"):
        with fetch(f"m4/Hourly-{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        parts.append({name: np.array([cell for cell in cells if cell], np.float64) for name, *cells in rows})
    train, test = parts
    return list(train), list(train.values()), np.stack([test[name] for name in train])


def smape(truth_SH: np.ndarray, forecast_SH: np.ndarray) -> np.ndarray:
    """Symmetric mean absolute percentage error of each series, [S], in percent: 200 mean(|y - f| / (|y| + |f|)).

    The competition's code adds nothing to the denominator; where both are 0 the term is 0.
    """
    size_SH = np.abs(truth_SH) + np.abs(forecast_SH)
    error_SH = np.abs(truth_SH - forecast_SH)
    return 200 * np.mean(np.where(size_SH > 0, error_SH / np.where(size_SH > 0, size_SH, 1), 0), axis=-1)


def mase(truth_SH: np.ndarray, forecast_SH: np.ndarray, scale_S: np.ndarray) -> np.ndarray:
    """Mean absolute scaled error of each series, [S]: mean |y - f| / scale, the scale being `seasonal_scale`."""
    return np.mean(np.abs(truth_SH - forecast_SH), axis=-1) / scale_S


def seasonal_scale(series: np.ndarray, season: int = SEASON) -> float:
    """Mean of |y_t - y_{t - season}| over the training part: the error of the seasonal naive forecast within it."""
    return float(np.mean(np.abs(series[season:] - series[:-season])))


def naive2(series: np.ndarray, horizon: int = HORIZON, season: int = SEASON) -> np.ndarray:
    """The competition's reference forecast: the last value of the seasonally adjusted series, with its season again.

    The series is adjusted (classical multiplicative decomposition) if its autocorrelation at the season is significant
    at 90%: |r_s| > 1.645 sqrt((1 + 2 sum_{k<s} r_k^2) / T).
    """
    if not _seasonal(series, season):
        return np.full(horizon, series[-1])
    index_S = seasonal_indices(series, season)
    places = (len(series) + np.arange(horizon)) % season
    return series[-1] / index_S[(len(series) - 1) % season] * index_S[places]


def _seasonal(series: np.ndarray, season: int) -> bool:
    centred = series - series.mean()
    power = np.sum(centred**2)
    if len(series) < 3 * season or power == 0:
        return False
    r_K = np.array([np.sum(centred[lag:] * centred[:-lag]) for lag in range(1, season + 1)]) / power
    limit = 1.645 * np.sqrt((1 + 2 * np.sum(r_K[:-1] ** 2)) / len(series))
    return bool(abs(r_K[-1]) > limit)


def seasonal_indices(series: np.ndarray, season: int) -> np.ndarray:
    """Factors of a classical multiplicative decomposition, [season], with mean 1, from the first value on."""
    weights = np.ones(season) if season % 2 else np.concatenate([[0.5], np.ones(season - 1), [0.5]])
    trend = np.convolve(series, weights / season, "valid")
    start = (len(series) - len(trend)) // 2
    ratio = series[start : start + len(trend)] / trend
    places = (start + np.arange(len(trend))) % season
    index_S = np.array([ratio[places == place].mean() for place in range(season)])
    return index_S / index_S.mean()


def owa(smape_mean: float, mase_mean: float, reference: tuple[float, float]) -> float:
    """Overall weighted average: the mean of both measures, each relative to that of Naive2."""
    return (smape_mean / reference[0] + mase_mean / reference[1]) / 2
