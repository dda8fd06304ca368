"""Sets of series: reference forecasts by hand, windows and their scores."""

import importlib.util

import numpy as np
import pytest

from xlstm_jax.data.series.zero_shot.series_set import (
    Series,
    SeriesSet,
    auto_ets,
    check_horizons,
    seasonal_error,
    seasonal_naive,
)
from xlstm_jax.errors import UsageError

NAN = np.nan


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
        with pytest.raises(UsageError, match=r"auto_ets needs the package statsforecast .*; pip install statsforecast"):
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


def test_horizons_that_are_too_long():
    sets = [SeriesSet(name, (), 1, horizon) for name, horizon in (("one", 8), ("two", 9))]
    check_horizons(sets, 9)
    with pytest.raises(UsageError, match=r"data\.horizon 8 is below the 9 steps that are forecast of 'two'"):
        check_horizons(sets, 8)
