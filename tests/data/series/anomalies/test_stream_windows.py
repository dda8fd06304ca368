"""Windows of streams: each row judged once, training ends in time."""

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.data.series.anomalies.stream_windows import Corpus, EvaluationStreams, TrainStreams
from xlstm_jax.data.series.anomalies.streams import View, prepared
from xlstm_jax.errors import UsageError

RNG = np.random.default_rng(0)
DAYS = np.datetime64("2020-01-01", "s") + 21600 * np.arange(120)  # four rows in a day
VIEW = View(forecast=True, scaling="running", memory=30, seasons="week", held_out=0.25)


def series(rows, calibration):
    return Monitored("x", DAYS[:rows], RNG.standard_normal((rows, 2)).cumsum(0), calibration)


def corpus(window=16, stride=5):
    """Of three streams with rows of their own, of which 45, 30 and 38 are trained on."""
    return Corpus([prepared(series(*sizes), VIEW) for sizes in ((120, 60), (90, 40), (77, 50))], window, stride)


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
