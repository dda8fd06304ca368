"""Streams: scaling and inputs against loops, and nothing from the future."""

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.data.series.anomalies.streams import (
    View,
    moments_before,
    prepared,
    season_lags,
    trained_rows,
    width,
)
from xlstm_jax.errors import UsageError

RNG = np.random.default_rng(0)
DAYS = np.datetime64("2020-01-01", "s") + 21600 * np.arange(120)  # four rows in a day
VIEW = View(forecast=True, scaling="running", memory=30, seasons="week", held_out=0.25)


def series(rows=120, calibration=60, offset=0.0):
    return Monitored("x", DAYS[:rows], RNG.standard_normal((rows, 2)).cumsum(0) + offset, calibration)


def test_moments_of_the_rows_before():
    x_NC = RNG.standard_normal((50, 2)) + 1e4
    mean_NC, std_NC = moments_before(x_NC, 20)
    assert mean_NC[0].tolist() == x_NC[0].tolist() and std_NC[0].tolist() == [0, 0]
    for row in range(1, 50):
        np.testing.assert_allclose(mean_NC[row], x_NC[max(0, row - 20) : row].mean(0), rtol=1e-12)
        np.testing.assert_allclose(std_NC[row], x_NC[max(0, row - 20) : row].std(0), atol=1e-6)


def test_what_a_forecaster_reads():
    """Level and last change; a day and a week before, the value, the change and a mark. An output is a change."""
    one = series()
    stream, x_NC = prepared(one, VIEW), one.values_NC
    assert stream.inputs_NF.shape == (120, width(2, VIEW)) == (120, 16) and stream.train == 45
    changes_NC = np.diff(x_NC, axis=0, prepend=x_NC[:1])

    def deviation(values_NC, row):
        past = [values_NC[max(0, t - 30) : t].std(0) if t else np.zeros(2) for t in range(row + 1)]
        return np.maximum(past[-1], 0.2 * np.max(past, axis=0))

    for row in (40, 100):
        level, change = deviation(x_NC, row), deviation(changes_NC, row)
        wanted = [(x_NC[row - 1] - x_NC[row - 30 : row].mean(0)) / level, changes_NC[row - 1] / change]
        for lag in (4, 28):
            gap = (x_NC[row - lag] - x_NC[row - 1]) / level
            wanted += [gap, changes_NC[row - lag] / change, np.ones(2)]
        np.testing.assert_allclose(np.sinh(stream.inputs_NF[row]), np.concatenate(wanted), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(stream.scale_NC[row], change, rtol=1e-6)
        np.testing.assert_allclose(stream.base_NC[row] + change * stream.targets_NC[row], x_NC[row], rtol=1e-4)
    early = stream.inputs_NF[3]
    assert (early[4:] == 0).all()  # neither a day nor a week ago


def test_what_an_autoencoder_reads():
    one = series(offset=500)
    stream = prepared(one, VIEW._replace(forecast=False, scaling="calibration", seasons="none"))
    start = one.values_NC[:45]
    wanted = (one.values_NC - start.mean(0)) / start.std(0)
    np.testing.assert_allclose(stream.targets_NC, np.clip(wanted, -20, 20), rtol=1e-5)
    np.testing.assert_allclose(stream.inputs_NF, np.arcsinh(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", ["running", "calibration"])
@pytest.mark.parametrize("forecast", [True, False])
def test_nothing_depends_on_later_rows(scaling, forecast):
    """Nor, for a forecaster, on the row itself."""
    view, one = VIEW._replace(scaling=scaling, forecast=forecast), series()
    changed = one._replace(values_NC=np.where(np.arange(120)[:, None] < 80, one.values_NC, 9e3))
    mine, theirs = prepared(one, view), prepared(changed, view)
    np.testing.assert_array_equal(mine.targets_NC[:80], theirs.targets_NC[:80])
    for name in ("inputs_NF", "base_NC", "scale_NC"):
        last = 80 if name == "inputs_NF" and not forecast else 81
        np.testing.assert_array_equal(getattr(mine, name)[:last], getattr(theirs, name)[:last])


def test_seasons_come_from_dates():
    assert season_lags(DAYS, 60, "week") == [4, 28] and season_lags(DAYS, 60, "day") == [4]
    assert season_lags(None, 60, "none") == []
    with pytest.raises(UsageError, match=r"data\.seasons needs dates; name the column of dates by data\.time"):
        season_lags(None, 60, "day")


def test_rows_that_are_trained_on():
    assert [trained_rows(n, 0.25) for n in (60, 40, 50)] == [45, 30, 38]
