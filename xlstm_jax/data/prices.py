"""Daily prices: two stock indices, a user's own file, or a simulated series; returns and ranges.

The indices are the S&P 500 and the NASDAQ Composite from 1999 to 2018, as the Python package `arch` has them.
"""

import csv
import datetime
import gzip
import io
import json
import math
from typing import Any, NamedTuple

import numpy as np

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, unpacked
from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.table import read_csv
from xlstm_jax.errors import UsageError

ARCHIVE = "arch/arch-8.0.0.whl"
INDICES = {name: f"arch/data/{name}/{name}.csv.gz" for name in ("sp500", "nasdaq")}
ARCHIVES[ARCHIVE] = RemoteArchive(
    sources=("pip:arch==8.0.0",),
    members=tuple(INDICES.values()),
    size=217_664,
    sha256="4b9bab9da212eba3f29af336a254f08ca0f1277041846741907412d26a6f2bb3",
)
COLUMNS = ("High", "Low", "Close")
FLOOR = 0.01  # added to a variance before its logarithm is read; the mean variance is 1
OMEGA, ALPHA, BETA = 0.02, 0.1, 0.88  # of the simulated series; its variance is 1, in %^2
SIMULATED_DAYS, SIMULATED_SEED = 5000, 2**63 + 1


class Prices(NamedTuple):
    """Prices of consecutive days.

    Attributes:
        days_N: datetime64[D], increasing.
        prices_NP: float64: high, low and close, or the closing price alone.
    """

    days_N: np.ndarray
    prices_NP: np.ndarray


def index(name: str, columns: tuple[str, ...] = COLUMNS) -> Prices:
    """A stock index by its name in `INDICES`."""
    text = gzip.decompress((unpacked(ARCHIVE) / INDICES[name]).read_bytes()).decode()
    rows = [*csv.DictReader(io.StringIO(text))]
    days = [datetime.datetime.strptime(row["Date"], "%m/%d/%Y").date() for row in rows]
    prices_NP = np.array([[float(row[column]) for column in columns] for row in rows])
    return Prices(np.array(days, "datetime64[D]"), prices_NP)


def own(path: str, date: str, columns: tuple[str, ...]) -> Prices:
    """A user's CSV file with a column of dates and columns of prices.

    Raises:
        UsageError: as `read_csv`; a price is missing or not positive, a closing price is outside of the day's range,
            or it never changes.
    """
    table = read_csv(path, time=date, columns=columns)
    days_N = table.times_N.astype("datetime64[D]")
    if (twice := np.flatnonzero(days_N[1:] == days_N[:-1])).size:
        raise UsageError(f"{path!r} has two rows for {days_N[twice[0]]}; give one price per day")
    prices = Prices(days_N, table.values_NC)
    if problem := first_problem(prices.prices_NP):
        row, what = problem
        raise UsageError(f"{path!r} on {days_N[row]}: {what}")
    if np.ptp(prices.prices_NP[:, -1]) == 0:
        raise UsageError(f"{path!r} has the same closing price on all days; give prices that change")
    return prices


def first_problem(prices_NP: np.ndarray) -> tuple[int, str] | None:
    """The first row that cannot be, and what to do about it."""
    wrong_N = ~(prices_NP > 0).all(axis=1)  # also NaN
    if wrong_N.any():
        return int(np.argmax(wrong_N)), "a price is missing or not positive; correct it, or leave the day out"
    if prices_NP.shape[1] == len(COLUMNS):
        high_N, low_N, close_N = prices_NP.T
        wrong_N = (close_N > high_N) | (close_N < low_N)
        if wrong_N.any():
            return int(np.argmax(wrong_N)), "the closing price is not between low and high; give high, low and close"
    return None


def simulated() -> Prices:
    """Closing prices whose returns are a GARCH(1,1) with Gaussian innovations, so that the best model is known.

    r_t = s_t e_t in percent, s_t^2 = 0.02 + 0.1 r_{t-1}^2 + 0.88 s_{t-1}^2. It is the same on every call.
    """
    noise_N = generator(SIMULATED_SEED, 0).standard_normal(SIMULATED_DAYS)
    variance, returns_N = OMEGA / (1 - ALPHA - BETA), np.zeros(SIMULATED_DAYS)
    for day in range(1, SIMULATED_DAYS):
        returns_N[day] = np.sqrt(variance) * noise_N[day]
        variance = OMEGA + ALPHA * returns_N[day] ** 2 + BETA * variance
    days_N = np.arange(SIMULATED_DAYS) + np.datetime64("2000-01-01")
    return Prices(days_N, 100 * np.exp(np.cumsum(returns_N)[:, None] / 100))


def returns(prices_NP: np.ndarray) -> np.ndarray:
    """Logarithmic returns in percent, 100 log(close_t / close_{t-1}): [N - 1]."""
    return 100 * np.diff(np.log(prices_NP[:, -1]))


def range_variance(prices_N3: np.ndarray) -> np.ndarray:
    """The variance of each day in %^2 from its range, log(H / L)^2 / (4 log 2), [N - 1].

    H and L are the highest and the lowest price since the day before closed: its closing price counts too, so that the
    move while the market was closed is in it. For a Brownian motion without drift it is unbiased, with about 5 times
    the efficiency of the squared return (Parkinson 1980, J. Business 53:61). Real prices move in steps and are seen at
    times only, so that the range is too small.
    """
    high_N, low_N, close_N = 100 * np.log(prices_N3).T
    highest_N, lowest_N = np.maximum(high_N[1:], close_N[:-1]), np.minimum(low_N[1:], close_N[:-1])
    return (highest_N - lowest_N) ** 2 / (4 * np.log(2))


class PricesCodec:
    """Prices to features, in units of the training days: their returns have mean 0 and variance 1.

    Args:
        columns: of the prices.
        mean, std: of the returns, in percent.
        range_ratio: the returns' variance over the mean of `range_variance`, which is too small.
    """

    kind = "prices"

    def __init__(self, columns: tuple[str, ...], mean: float, std: float, range_ratio: float):
        self.columns, self.mean, self.std, self.range_ratio = columns, mean, std, range_ratio

    @classmethod
    def of(cls, columns: tuple[str, ...], prices_NP: np.ndarray) -> "PricesCodec":
        """From the prices of the training days."""
        returns_N = returns(prices_NP)
        mean, std, ratio = float(returns_N.mean()), float(returns_N.std()), 1.0
        if len(columns) > 1:
            ratio = float(std**2 / range_variance(prices_NP).mean())
        if not (std > 0 and math.isfinite(ratio)):
            raise UsageError("prices do not change in the training part; give other days")
        return cls(columns, mean, std, ratio)

    def decode(self, features_TF: np.ndarray) -> str:
        """Closing prices with such returns, the first feature; high and low are the same."""
        returns_T = features_TF[:, 0].astype(np.float64) * self.std + self.mean
        close_N = 100 * np.exp(np.cumsum([0.0, *returns_T]) / 100)
        return json.dumps(np.repeat(close_N[:, None], len(self.columns), axis=1).tolist())

    def to_json(self) -> dict[str, Any]:
        numbers = {"mean": self.mean, "std": self.std, "range_ratio": self.range_ratio}
        return {"kind": self.kind, "columns": list(self.columns), **numbers}

    @classmethod
    def from_json(cls, data: Any) -> "PricesCodec":
        data = data if isinstance(data, dict) else {}
        numbers = [data.get(name) for name in ("mean", "std", "range_ratio")]
        columns = data.get("columns")
        if (
            data.get("kind") != cls.kind
            or not (isinstance(columns, list) and all(isinstance(name, str) for name in columns))
            or not all(type(number) is float and math.isfinite(number) for number in numbers)
            or min(numbers[1:]) <= 0
        ):
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs columns, mean, std and range_ratio")
        return cls(tuple(columns), *numbers)

    @property
    def width(self) -> int:
        """F, features of a day."""
        return 2 if len(self.columns) == 1 else 3

    def variances(self, prices_NP: np.ndarray) -> np.ndarray:
        """Proxies of each day's variance but the first's: [N - 1, 1 or 2].

        Squared returns, then `range_variance`.
        """
        square_N = ((returns(prices_NP) - self.mean) / self.std) ** 2
        if len(self.columns) == 1:
            return square_N[:, None]
        range_N = range_variance(prices_NP) * (self.range_ratio / self.std**2)
        return np.stack([square_N, range_N], axis=1)

    def features(self, prices_NP: np.ndarray) -> np.ndarray:
        """[N - 1, F], float32: each day's return and the logarithms of its `variances`."""
        return_N1 = (returns(prices_NP)[:, None] - self.mean) / self.std
        return np.concatenate([return_N1, np.log(self.variances(prices_NP) + FLOOR)], axis=1).astype(np.float32)

    def daily_percent(self, log_variance: np.ndarray) -> np.ndarray:
        """The standard deviation of a day's return in percent, from a model's output."""
        return self.std * np.exp(np.asarray(log_variance, np.float64) / 2)
