"""Windows of real series, cut by hand."""

import numpy as np
import pytest

from xlstm_jax.data.series.zero_shot.masked import Shape
from xlstm_jax.data.series.zero_shot.series_set import Series, SeriesSet
from xlstm_jax.data.series.zero_shot.set_windows import ForecastWindows, TuningWindows

ALL = slice(None)
SHAPE = Shape(batch_size=4, part=ALL, context=12, horizon=8, patch=4)


def series(values, validation, test, covariates=0):
    values = np.asarray(values, np.float64)
    return Series(values, np.tile(values[:, None] * 10, (1, covariates)), validation, test)


@pytest.fixture
def chosen_set():
    return SeriesSet("own", (series(range(40), 20, 30, 2), series(range(100, 130), 15, 20, 2)), 5, 5, (False, True))


def test_windows_by_hand(chosen_set):
    """Each window once, the horizon after its context, the rest missing; the last batch is filled up."""
    source = ForecastWindows((chosen_set,), "test", SHAPE)
    assert len(source) == 1  # [30, 35), [35, 40), and [20, 25), [25, 30) of the other series
    batch = source[0]
    np.testing.assert_array_equal(batch.values_BT[0, :17], range(18, 35))
    assert not batch.known_BT[0, 17:].any() and batch.known_BT[0, :17].all()
    assert batch.seen_BT[0, :12].all() and not batch.seen_BT[:, 12:].any()
    np.testing.assert_array_equal(batch.values_BT[3, :17], range(113, 130))
    np.testing.assert_array_equal(batch.covariates_BTC[0, :12, 0], batch.values_BT[0, :12] * 10)
    assert not batch.covariates_seen_BTC[:, 12:, 0].any() and batch.covariates_seen_BTC[0, 12:17, 1].all()
    np.testing.assert_array_equal(batch.set_B, 0)
    np.testing.assert_array_equal(batch.error_B, 5)  # the series rises by 1 a step, and its season has 5
    np.testing.assert_array_equal(batch.reference_B, 5)
    short = ForecastWindows((chosen_set,), "test", SHAPE._replace(batch_size=3))
    np.testing.assert_array_equal(np.concatenate([short[0].set_B, short[1].set_B]), [0, 0, 0, 0, -1, -1])
    assert not short[1].known_BT[1:].any()


def test_the_beginning_of_a_series_is_padded(chosen_set):
    batch = ForecastWindows((chosen_set,), "validation", SHAPE._replace(batch_size=8, context=24))[0]
    assert not batch.known_BT[0, :4].any() and batch.known_BT[0, 4:29].all()
    np.testing.assert_array_equal(batch.values_BT[0, 4:29], range(25))


def test_training_windows_come_from_the_training_part(chosen_set):
    source = TuningWindows(chosen_set, SHAPE, 0)
    ends = set()
    for index in range(40):
        batch = source[index]
        for row, (values, known) in enumerate(zip(batch.values_BT, batch.known_BT, strict=True)):
            steps = values[known]
            ends.add(steps[-1])
            assert (np.diff(steps) == 1).all() and known[-1]
            assert steps[-1] < 20 or (steps[0] >= 100 and steps[-1] < 115)
            if row % 2 == 0:
                assert not batch.seen_BT[row, batch.origin_B[row] :].any()
    assert {19.0, 114.0} <= ends and min(ends) == 8


def test_processes_read_their_rows(chosen_set):
    for source in (
        lambda part: TuningWindows(chosen_set, SHAPE._replace(part=part), 0),
        lambda part: ForecastWindows((chosen_set,), "test", SHAPE._replace(part=part)),
    ):
        whole, parts = source(ALL)[0], [source(slice(n, n + 2))[0] for n in (0, 2)]
        for array, *pieces in zip(whole, *parts, strict=True):
            assert array is None or np.array_equal(array, np.concatenate(pieces))
