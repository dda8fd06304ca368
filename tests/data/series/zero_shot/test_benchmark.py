"""Benchmark: the seasonal naive forecast by hand, windows, tables, and published scores."""

import importlib.util
import os

import numpy as np
import pytest

from xlstm_jax.data.series.table import Table
from xlstm_jax.data.series.zero_shot.benchmark import (
    SETS,
    Series,
    SeriesSet,
    auto_ets,
    load,
    of_table,
    seasonal_error,
    seasonal_naive,
)
from xlstm_jax.errors import UsageError

NAN = np.nan
needs_data = pytest.mark.skipif(
    "XLSTM_JAX_DATA_MIRROR" not in os.environ, reason="set XLSTM_JAX_DATA_MIRROR to a folder with m4/ and others"
)


@pytest.mark.parametrize(
    ("past", "season", "wanted"),
    [
        ([1, 2, 3, 4, 5, 6, 7], 3, [5, 6, 7, 5]),
        ([1, 2, 3, 4, NAN, 6, 7], 3, [2, 6, 7, 2]),  # of a season earlier
        ([NAN, 2, 3, NAN, 5, 6], 3, [6, 5, 6, 6]),  # never known: the last one
        ([1, 2], 3, [1, 2, 1, 2]),
        ([1, 2, 5], 1, [5, 5, 5, 5]),
    ],
)
def test_seasonal_naive(past, season, wanted):
    np.testing.assert_array_equal(seasonal_naive(np.array(past, np.float64), season, 4), wanted)


def test_auto_ets():
    """A line with a season goes on; without the package there is one clear line."""
    past = 10 + np.arange(48) / 10 + np.tile([0.0, 3, 1, -4], 12) + 0.01 * np.random.default_rng(0).standard_normal(48)
    past[20] = NAN
    if importlib.util.find_spec("statsforecast") is None:
        with pytest.raises(UsageError, match=r"needs statsforecast, .*pip install statsforecast"):
            auto_ets(past, 4, 4)
        return
    np.testing.assert_allclose(auto_ets(past, 4, 4), 10 + np.arange(48, 52) / 10 + np.array([0, 3, 1, -4]), atol=0.3)


def test_seasonal_error():
    assert seasonal_error(np.array([1.0, 5, 2, NAN, 4]), 2) == pytest.approx((1 + 2) / 2)
    assert np.isnan(seasonal_error(np.array([1.0, 2]), 2))


def test_windows_and_scores():
    values = np.arange(20.0)
    values[14:16] = NAN
    whole = SeriesSet("own", (Series(values, np.zeros((20, 0)), 8, 12),), 2, 2)
    assert list(whole.windows("train")) == [(0, 2), (0, 4), (0, 6)]
    assert list(whole.windows("test")) == [(0, 12), (0, 16), (0, 18)]  # nothing is known of 14 and 15
    assert whole.scores(0, 12) == (2, 2)
    values[13] = 20
    assert whole.scores(0, 12) == (2, (2 + 9) / 2)


def test_tables():
    table = Table(("a", "b", "c", "d"), np.arange(80.0).reshape(20, 4), None)
    whole = of_table(table, (0.7, 0.1, 0.2), 1, 2, name="own", targets=("b", "a"), covariates=("d",), known=("c",))
    assert [series.bounds("validation") for series in whole.series] == [(14, 16)] * 2
    assert whole.future_C == (False, True)
    np.testing.assert_array_equal(whole.series[0].values_T, table.values_NC[:, 1])
    np.testing.assert_array_equal(whole.series[1].covariates_TC, table.values_NC[:, [3, 2]])
    rows = of_table(table, (10, 4, 4), 1, 2, name="own", targets=("a",))
    assert len(rows.series[0].values_T) == 18 and rows.series[0].bounds("test") == (14, 18)
    with pytest.raises(UsageError, match="the validation part has 2 rows, too few for a horizon of 3"):
        of_table(table, (0.7, 0.1, 0.2), 1, 3, name="own", targets=("a",))
    with pytest.raises(UsageError, match="there is no column 'x'; the columns are 'a, b, c, d'"):
        of_table(table, (0.7, 0.1, 0.2), 1, 2, name="own", targets=("a",), known=("x",))
    with pytest.raises(UsageError, match="the data set 'moon' is unknown; known: m4_hourly"):
        load("moon")


def naive_scores(whole, windows):
    loss = size = 0.0
    scaled = []
    for number, start in windows:
        truth = whole.series[number].values_T[start : start + whole.horizon]
        scale, error = whole.scores(number, start)
        loss, size = loss + error * np.isfinite(truth).sum(), size + np.nansum(np.abs(truth))
        scaled.append(error / scale)
    return loss / size, np.mean(scaled)


@needs_data
def test_published_scores_of_the_seasonal_naive_forecast():
    """Of M4 and of the last 30 exchange rates, as Chronos's evaluation has them (results/seasonal-naive-*.csv)."""
    whole = load("m4_hourly")
    assert naive_scores(whole, whole.windows("test")) == pytest.approx((0.0483091941, 1.1932105781), rel=1e-6)
    whole = load("exchange")
    last = [(number, len(series.values_T) - 30) for number, series in enumerate(whole.series)]
    assert naive_scores(whole, last) == pytest.approx((0.0129841407, 1.7401824287), rel=1e-6)


@needs_data
@pytest.mark.parametrize("name", SETS)
def test_sets(name):
    whole = load(name)
    places = list(whole.windows("test"))
    counts = {"m4_hourly": 414, "ett_h1": 210, "exchange": 400, "illness": 56, "pollution": 182, "nab": 372}
    assert len(places) == counts[name]
    assert all(start >= whole.series[number].test for number, start in places)
    assert len(list(whole.windows("validation"))) > 5
