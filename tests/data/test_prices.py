"""Prices: the indices, a file of one's own, returns and ranges, and what is refused."""

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data import prices
from xlstm_jax.errors import UsageError

needs_data = needs_mirror("arch/")


def write(path, rows, header="Date,High,Low,Close"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


@needs_data
@pytest.mark.parametrize(("name", "last"), [("sp500", 2506.850098), ("nasdaq", 6635.279785)])
def test_the_indices(name, last):
    try:
        index = prices.index(name)
    except UsageError as error:
        pytest.skip(str(error))
    assert len(index.days_N) == 5031 and index.prices_NP.shape == (5031, 3)
    assert (str(index.days_N[0]), str(index.days_N[-1])) == ("1999-01-04", "2018-12-31")
    assert (np.diff(index.days_N).astype(int) > 0).all() and index.prices_NP[-1, -1] == last
    assert prices.first_problem(index.prices_NP) is None
    np.testing.assert_array_equal(prices.index(name, ("Close",)).prices_NP[:, 0], index.prices_NP[:, 2])
    ratio = prices.range_variance(index.prices_NP).mean() / prices.returns(index.prices_NP).var()
    assert 0.7 < ratio < 0.75


def test_returns_and_ranges():
    """100 log, and the range since the day before closed: here a jump over night, a day within it, and one beyond."""
    prices_N3 = np.array([[11, 9, 10], [13, 12, 12.5], [12.8, 12.2, 12.4], [14, 11, 13]], float)
    np.testing.assert_allclose(prices.returns(prices_N3), 100 * np.log([1.25, 12.4 / 12.5, 13 / 12.4]))
    wanted = (100 * np.log([13 / 10, 12.8 / 12.2, 14 / 11])) ** 2 / (4 * np.log(2))
    np.testing.assert_allclose(prices.range_variance(prices_N3), wanted)


def test_the_range_is_unbiased_for_a_fine_random_walk():
    """And its variance is about a fifth of that of the squared return (Parkinson 1980)."""
    walk_NT = np.cumsum(np.random.default_rng(0).standard_normal((4000, 2000)), axis=1) / np.sqrt(2000) * 0.01
    day_N3 = np.exp(np.stack([walk_NT.max(axis=1), walk_NT.min(axis=1), walk_NT[:, -1]], axis=1))
    pairs_N23 = np.stack([np.ones_like(day_N3), day_N3], axis=1)  # each day begins at 1
    range_N = np.array([prices.range_variance(pair)[0] for pair in pairs_N23])
    square_N = (100 * np.log(day_N3[:, -1])) ** 2
    assert range_N.mean() == pytest.approx(1, abs=0.06)  # steps make the range a little too small
    assert square_N.var() / range_N.var() == pytest.approx(4.9, rel=0.15)


def test_the_simulated_series_is_a_garch():
    series = prices.simulated()
    np.testing.assert_array_equal(series.prices_NP, prices.simulated().prices_NP)
    return_N = prices.returns(series.prices_NP)
    variance, innovations = 1.0, []
    for value in return_N:
        innovations.append(value / np.sqrt(variance))
        variance = 0.02 + 0.1 * value**2 + 0.88 * variance
    innovations = np.array(innovations)
    assert innovations.std() == pytest.approx(1, abs=0.03) and np.mean(innovations**4) == pytest.approx(3, abs=0.3)
    square_N = innovations**2 - np.mean(innovations**2)
    assert abs(np.mean(square_N[1:] * square_N[:-1])) / square_N.var() < 0.05  # nothing is left to predict
    assert np.mean(return_N**4) / np.mean(return_N**2) ** 2 > 3.5


def test_a_file_of_ones_own(tmp_path):
    path = write(tmp_path / "a.csv", [("2020-01-02", 3, 1, 2), ("2020-01-03", 4, 2, 3)])
    own = prices.own(path, "Date", ("High", "Low", "Close"))
    assert own.prices_NP.tolist() == [[3, 1, 2], [4, 2, 3]] and str(own.days_N[1]) == "2020-01-03"
    assert prices.own(path, "Date", ("Close",)).prices_NP.tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("2020-01-02", 3, 1, 2), ("2020-01-03", 4, 2, "")], "on 2020-01-03: a price is missing or not positive"),
        ([("2020-01-02", 3, 1, -2)], "on 2020-01-02: a price is missing or not positive; correct it"),
        ([("2020-01-02", 3, 1, 4)], "on 2020-01-02: the closing price is not between low and high"),
        ([("2020-01-03", 3, 1, 2), ("2020-01-02", 3, 1, 2)], "line 3: 2020-01-02 .* does not come after"),
        ([("2020-01-02 09:00", 3, 1, 2), ("2020-01-02 17:00", 3, 1, 2)], "two rows for 2020-01-02; give one price"),
        ([("2020-01-02", 3, 1, 2), ("2020-01-03", 3, 1, 2)], "has the same closing price on all days"),
        ([("1/2/2020", 3, 1, 2)], "'1/2/2020' is not a date"),
        ([("2020-01-02", 3, 1)], "line 2 has 3 cells, and the header 4"),
    ],
)
def test_files_that_cannot_be(tmp_path, rows, message):
    with pytest.raises(UsageError, match=message) as caught:
        prices.own(write(tmp_path / "a.csv", rows), "Date", ("High", "Low", "Close"))
    assert "\n" not in str(caught.value)
