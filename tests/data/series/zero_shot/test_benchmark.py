"""Benchmark: tables, a file of one's own, and published scores."""

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.series.table import Table
from xlstm_jax.data.series.zero_shot.benchmark import SETS, load, of_table, own
from xlstm_jax.errors import UsageError

NAN = np.nan
needs_data = needs_mirror("m4/ and others")


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


def test_a_file_of_ones_own(tmp_path):
    """Targets are all columns without another part, if none is named."""
    rows = np.arange(80).reshape(20, 4)
    (tmp_path / "own.csv").write_text("\n".join(["a,b,c,d", *(",".join(map(str, row)) for row in rows)]))
    some = own(str(tmp_path / "own.csv"), "", (), ("d",), ("b",), season=3, horizon=2)
    assert (some.name, some.season, some.horizon, some.future_C) == ("own", 3, 2, (False, True))
    assert [series.values_T[0] for series in some.series] == [0, 2]
    assert [series.bounds("test") for series in some.series] == [(16, 20)] * 2
    np.testing.assert_array_equal(some.series[0].covariates_TC[0], [3, 1])
    (only,) = own(str(tmp_path / "own.csv"), "", ("c",), ("d",), (), season=1, horizon=2).series
    assert only.values_T[0] == 2


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
