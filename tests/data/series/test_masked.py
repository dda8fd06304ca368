"""Windows: what is hidden, origins, and real series cut by hand."""

import numpy as np
import pytest

from xlstm_jax.data.series.benchmark import Series, SeriesSet
from xlstm_jax.data.series.masked import (
    LONGEST_RUN,
    ForecastWindows,
    Shape,
    SyntheticForecasts,
    SyntheticWindows,
    TuningWindows,
    hidden,
    origins,
)

ALL = slice(None)
SHAPE = Shape(batch_size=4, part=ALL, context=12, horizon=8, patch=4)
BANK = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)


def series(values, validation, test, covariates=0):
    values = np.asarray(values, np.float64)
    return Series(values, np.tile(values[:, None] * 10, (1, covariates)), validation, test)


@pytest.fixture
def chosen_set():
    return SeriesSet("own", (series(range(40), 20, 30, 2), series(range(100, 130), 15, 20, 2)), 5, 5, (False, True))


def test_hidden_stretches_are_of_whole_patches():
    rows = hidden(np.random.default_rng(0), 500, 20, 3).reshape(500, 20, 3)
    assert (rows.all(axis=2) | ~rows.any(axis=2)).all()
    assert 0.1 < rows.mean() < 0.4
    lengths = np.array([len(run) for row in rows[:, :, 0] for run in "".join("x "[not h] for h in row).split()])
    assert {*range(1, LONGEST_RUN + 1)} <= {*lengths}


def test_origins_leave_something_before_and_after():
    known = np.ones((500, 40), bool)
    known[:250, :17] = False
    origin = origins(np.random.default_rng(0), known, 4)
    assert (origin % 4 == 0).all() and origin.min() == 8 and origin.max() == 36
    assert origin[:250].min() == 24  # two patches after the one in which the row begins


def test_a_training_batch():
    """Nothing unknown or hidden is seen; covariates that are not known ahead are hidden with the target."""
    batch = SyntheticWindows(BANK, SHAPE, 0, covariates=2, share=0.9)[5]
    assert not (batch.seen_BT & ~batch.known_BT).any()
    assert (batch.values_BT[~batch.known_BT] == 0).all() and (
        batch.covariates_BTC[~batch.covariates_seen_BTC] == 0
    ).all()
    hidden_BT = ~batch.seen_BT & batch.known_BT
    late_BTC = batch.covariates_seen_BTC & hidden_BT[..., None]
    assert not (late_BTC & ~batch.future_BC[:, None]).any()
    assert batch.set_B is None and batch.values_BT.dtype == np.float32


def test_all_of_a_horizon_is_hidden():
    batch = SyntheticForecasts(BANK, SHAPE, 0, covariates=0, share=0.0, length=2)[1]
    assert (batch.origin_B == 12).all() and not batch.seen_BT[:, 12:].any()


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
        lambda part: SyntheticWindows(BANK, SHAPE._replace(part=part), 0, covariates=1, share=0.5),
        lambda part: TuningWindows(chosen_set, SHAPE._replace(part=part), 0),
        lambda part: ForecastWindows((chosen_set,), "test", SHAPE._replace(part=part)),
    ):
        whole, parts = source(ALL)[0], [source(slice(n, n + 2))[0] for n in (0, 2)]
        for array, *pieces in zip(whole, *parts, strict=True):
            assert array is None or np.array_equal(array, np.concatenate(pieces))
