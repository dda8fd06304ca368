"""Windows: what is hidden, and origins."""

import numpy as np
import pytest

from xlstm_jax.data.series.zero_shot.masked import (
    LONGEST_RUN,
    Shape,
    SyntheticForecasts,
    SyntheticWindows,
    Windows,
    hidden,
    mean_size,
    origins,
)

ALL = slice(None)
SHAPE = Shape(batch_size=4, part=ALL, context=12, horizon=8, patch=4)
BANK = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)


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


def test_processes_read_their_rows():
    whole, parts = (
        SyntheticWindows(BANK, SHAPE._replace(part=part), 0, covariates=1, share=0.5)[0] for part in (ALL, slice(2, 4))
    )
    for array, piece in zip(whole, parts, strict=True):
        assert array is None or np.array_equal(array[2:], piece)


def test_the_mean_size_of_what_is_scored():
    """Standardised by what is seen before the origin; the constant row keeps its unit, 1."""
    values = np.array([[0, 2, 9, 5, 1], [3, 3, 3, 4, 7]], np.float32)
    known = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 1]], bool)
    seen = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]], bool)
    none = np.zeros((2, 5, 0))
    batch = Windows(values, known, seen, np.array([3, 3], np.int32), none, none > 0, np.zeros((2, 0), bool))
    np.testing.assert_array_equal(batch.scored_BT, [[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]])
    assert mean_size([batch]) == pytest.approx(np.mean(np.arcsinh([4, 0, 4])))
    assert mean_size([batch, batch._replace(known_BT=known & False)]) == mean_size([batch])
