"""The M4 competition's measures: by hand, and to the digits that it published."""

import numpy as np

from tests.mirror import needs_mirror
from xlstm_jax.data.series.forecasts import m4
from xlstm_jax.data.series.forecasts.collection import Collection, EvaluationHistories, TrainHistories

needs_data = needs_mirror("m4/")


def test_measures_by_hand():
    truth, forecast = np.array([[1.0, 3.0], [0.0, 2.0]]), np.array([[3.0, 1.0], [0.0, 2.0]])
    np.testing.assert_allclose(m4.smape(truth, forecast), [100, 0])
    np.testing.assert_allclose(m4.mase(truth, forecast, np.array([4.0, 1.0])), [0.5, 0])
    assert m4.seasonal_scale(np.array([1.0, 2, 4, 8]), season=2) == 4.5
    assert m4.owa(10, 3, (20, 2)) == 1.0


def test_naive2_takes_the_season_off_and_puts_it_on():
    season = np.array([0.5, 1.0, 1.5, 1.0])
    series = np.tile(season, 10) * 8
    np.testing.assert_allclose(m4.naive2(series[:-1], horizon=6, season=4), np.tile(season, 12)[39:45] * 8, rtol=1e-9)
    noise = np.random.default_rng(0).uniform(1, 2, 40)
    np.testing.assert_array_equal(m4.naive2(noise, horizon=3, season=4), [noise[-1]] * 3)


@needs_data
def test_published_scores_to_the_digit():
    """Of Naive2 and the seasonal naive forecast: sMAPE 18.383 and 13.912, MASE 2.395 and 1.193."""
    names, train, test_SH = m4.read()
    assert len(names) == 414 and test_SH.shape == (414, 48) and names[0] == "H1"
    scale_S = np.array([m4.seasonal_scale(series) for series in train])
    for forecast, smape, mase in ((m4.naive2, *m4.NAIVE2), (lambda series: np.tile(series[-24:], 2), 13.912, 1.193)):
        forecast_SH = np.stack([forecast(series) for series in train])
        assert round(m4.smape(test_SH, forecast_SH).mean(), 3) == smape
        assert round(m4.mase(test_SH, forecast_SH, scale_S).mean(), 3) == mase


SERIES = [np.arange(1, 31.0), np.arange(100, 141.0)]


def test_histories_end_at_the_present():
    collection = Collection(SERIES, np.array([1.0, 2.0]), most=20, horizon=4)
    batch = collection.histories(np.array([0, 1]), np.array([12, 39]))
    np.testing.assert_array_equal(batch.past_BT[0], [0] * 8 + [*range(1, 13)])
    np.testing.assert_array_equal(batch.past_BT[1], np.arange(119, 139))
    assert batch.start_B.tolist() == [-8, 19] and batch.scale_B.tolist() == [1, 2]
    np.testing.assert_array_equal(batch.future_BH[0], [13, 14, 15, 16])
    np.testing.assert_array_equal(batch.future_BH[1], [139, 140, 0, 0])


def test_training_never_sees_beyond_the_last_present():
    collection = Collection(SERIES, np.ones(2), most=20, horizon=4)
    source = TrainHistories(collection, 10, np.array([20, 25]), batch_size=64, seed=0, part=slice(None))
    batch = source[5]
    present_B = batch.start_B + 20
    assert (present_B >= 10).all() and (present_B <= np.array([20, 25])[batch.series_B]).all()
    assert present_B[batch.series_B == 0].max() == 20
    part = TrainHistories(collection, 10, np.array([20, 25]), batch_size=64, seed=0, part=slice(3, 5))[5]
    np.testing.assert_array_equal(part.past_BT, batch.past_BT[3:5])
    whole = EvaluationHistories(collection, np.array([26, 30]), np.zeros((2, 2)), batch_size=3, part=slice(None))
    assert len(whole) == 1 and whole[0].scored_B.tolist() == [True, True, False]
