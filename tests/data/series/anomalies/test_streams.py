"""Streams: scaling and inputs against loops, nothing from the future, each row judged once, training ends in time."""

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.data.series.anomalies.stream_windows import Corpus, EvaluationStreams, TrainStreams
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


def corpus(window=16, stride=5):
    return Corpus([prepared(one, VIEW) for one in (series(), series(90, 40), series(77, 50))], window, stride)


def test_every_row_is_judged_once():
    """From a window that ends with its stretch of rows; those after the calibration part count in the loss."""
    whole = corpus()
    source = EvaluationStreams(whole, "test", batch_size=4, part=slice(None))
    judged, scored = np.zeros(287, int), 0
    flat = {name: np.concatenate([getattr(s, name) for s in whole.streams]) for name in ("inputs_NF", "targets_NC")}
    for batch in (source[n] for n in range(len(source))):
        assert batch.inputs_BTF.shape == (4, 16, 16)
        for place, (row, rows) in enumerate(zip(batch.row_B, batch.rows_B, strict=True)):
            judged[row : row + rows] += 1
            np.testing.assert_array_equal(batch.inputs_BTF[place, 11 : 11 + rows], flat["inputs_NF"][row : row + rows])
            np.testing.assert_array_equal(
                batch.targets_BTC[place, 11 : 11 + rows], flat["targets_NC"][row : row + rows]
            )
        scored += batch.scored_BT.sum()
    assert (judged == 1).all() and scored == 60 + 50 + 27


def test_validation_is_the_held_out_part():
    whole = corpus()
    source = EvaluationStreams(whole, "validation", batch_size=4, part=slice(None))
    batches = [source[n] for n in range(len(source))]
    assert sum(batch.scored_BT.sum() for batch in batches) == 15 + 10 + 12
    assert all((batch.row_B == -1).all() for batch in batches)
    assert [trained_rows(n, 0.25) for n in (60, 40, 50)] == [45, 30, 38]


def test_training_windows_end_in_time():
    """What comes after the training parts changes no batch; windows also begin before their series."""
    whole = corpus()
    spoilt = Corpus(
        [s._replace(**{n: np.where(np.arange(len(s.inputs_NF))[:, None] < s.train, getattr(s, n), 9)
                       for n in ("inputs_NF", "targets_NC")}) for s in whole.streams], 16, 5
    )  # fmt: skip
    mine, theirs = (TrainStreams(one, batch_size=64, seed=3, part=slice(None))[7] for one in (whole, spoilt))
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    early_BT = ~mine.scored_BT
    assert early_BT.any() and (mine.inputs_BTF[early_BT[:, 1]][:, 0] == 0).all() and mine.scored_BT.any(axis=1).all()
    with pytest.raises(UsageError, match=r"data\.stride 64 is more than the 30 rows that a series is trained on"):
        TrainStreams(corpus(128, 64), batch_size=4, seed=0, part=slice(None))
