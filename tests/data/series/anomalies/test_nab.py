"""NAB's scores: by hand, against every threshold tried in turn, and the benchmark's own published digits."""

import math

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.series.anomalies import nab
from xlstm_jax.data.series.anomalies.control_charts import windowed_gaussian
from xlstm_jax.data.series.anomalies.monitored import Monitored, calibration_rows
from xlstm_jax.errors import UsageError

needs_data = needs_mirror("nab/")


def series(rows, windows, calibration=0):
    return Monitored("", None, np.zeros((rows, 1)), calibration, windows=windows)


def sigmoid(y):
    return 2 / (1 + math.exp(5 * y)) - 1


def test_worth_by_hand():
    """Four rows wide; three widths less one row behind the window a false alarm costs all."""
    rows = nab.scored([series(20, ((4, 7),))])
    top = sigmoid(-1)
    assert rows.worth_R[:4].tolist() == [-1] * 4 and rows.count == 1
    np.testing.assert_allclose(
        rows.worth_R[4:8], [1, sigmoid(-3 / 4) / top, sigmoid(-2 / 4) / top, sigmoid(-1 / 4) / top]
    )
    np.testing.assert_allclose(rows.worth_R[8:17], [sigmoid(n / 3) if n < 9 else -1 for n in range(1, 10)])
    assert rows.worth_R[17:].tolist() == [-1] * 3
    assert rows.window_R.tolist() == [-1] * 4 + [0] * 4 + [-1] * 12


def test_one_alarm_counts_per_window_and_the_calibration_part_does_not():
    """The standard profile: the first window found late, the second one missed, one false alarm before them."""
    rows = nab.scored([series(40, ((10, 13), (30, 33)), calibration=6)])
    alarms_R = np.zeros(34)
    alarms_R[[2, 6, 7]] = 1  # rows 8, 12 and 13
    thresholds, points = nab.curve(alarms_R, rows, nab.PROFILES["nab"])
    raw = -0.11 + sigmoid(-2 / 4) / sigmoid(-1) - 1
    assert thresholds.tolist() == [np.inf, 1, 0]
    assert points[:2] == pytest.approx([0, 100 * (raw + 2) / 4])


def test_windows_within_the_calibration_part_do_not_count():
    rows = nab.scored([series(40, ((2, 5), (30, 33)), calibration=8), series(10, ())])
    assert rows.count == 1 and set(rows.window_R) == {-1, 0} and len(rows.worth_R) == 42


@pytest.mark.parametrize("profile", nab.PROFILES)
def test_every_threshold_as_if_alone(profile):
    """Scores with ties: each point of the curve is the score of those alarms, computed from its definition."""
    rng = np.random.default_rng(0)
    corpus = [series(60, ((10, 15), (16, 20), (40, 44)), 12), series(50, ((20, 29),), 5), series(30, (), 3)]
    rows, found, false, missed = nab.scored(corpus), *nab.PROFILES[profile]
    score_R = rng.integers(0, 15, len(rows.worth_R)).astype(float)
    for threshold, points in zip(*nab.curve(score_R, rows, nab.PROFILES[profile]), strict=True):
        raw, start = 0.0, 0
        for one in corpus:
            alarm_N = np.append(
                np.zeros(one.calibration), score_R[start : start + len(one.values_NC) - one.calibration]
            )
            alarm_N = (alarm_N >= threshold) & (np.arange(len(alarm_N)) >= one.calibration)
            start += len(alarm_N) - one.calibration
            for first, last in one.windows:
                if last < one.calibration:
                    continue
                hits = np.flatnonzero(alarm_N[first : last + 1])
                width = last - first + 1
                raw += found * sigmoid((hits[0] - width) / width) / sigmoid(-1) if hits.size else -missed
                alarm_N[first : last + 1] = False
            for row in np.flatnonzero(alarm_N):
                before = [(first, last) for first, last in one.windows if last < row]
                far = (row - before[-1][1]) / (before[-1][1] - before[-1][0]) if before else 3
                raw += false * (sigmoid(far) if far < 3 else -1)
        assert points == pytest.approx(100 * (raw + missed * rows.count) / (rows.count * (found + missed)), abs=1e-9)


def test_result_takes_the_best_threshold_and_the_fixed_one():
    rows = nab.scored([series(30, ((10, 13),), 5)])
    score_R = np.zeros(25)
    score_R[[5, 20]] = 3, 4
    result = nab.result(score_R, rows, fixed=3.5)
    assert result["nab_threshold"] == 3 and result["nab"] == pytest.approx(100 * (2 - 0.11) / 2)
    assert result["nab_low_fp"] == pytest.approx(100 * (2 - 0.22) / 2)
    assert result["nab_low_fn"] == pytest.approx(100 * (3 - 0.11) / 3)
    assert result["nab_fixed"] == pytest.approx(100 * -0.11 / 2)


def test_calibration_part():
    assert [calibration_rows(rows) for rows in (1127, 4032, 5000, 22695)] == [169, 604, 750, 750]


@needs_data
def test_published_digits():
    """The benchmark's own results of null, perfect, random and windowed Gaussian detectors.

    Windowed Gaussian: results/final_results.json of the benchmark. Random: its page says 11.0, a mean over seeds.
    """
    channels, found = nab.read()
    rows = nab.scored(found)
    assert (channels.names, len(found), rows.count, len(rows.worth_R)) == (("value",), 58, 116, 332_842)

    def result(scores):
        return nab.result(np.concatenate([s[one.calibration :] for s, one in zip(scores, found, strict=True)]), rows, 1)

    gaussian = result([windowed_gaussian(one.values_NC[:, 0]) for one in found])
    published = {"nab": 39.649523496077585, "nab_low_fp": 20.86798582474138, "nab_low_fn": 47.4100271583046}
    assert {name: gaussian[name] for name in published} == pytest.approx(published, abs=1e-6)
    perfect = result([np.isin(np.arange(len(one.values_NC)), [w[0] for w in one.windows]) * 1.0 for one in found])
    assert perfect["nab"] == perfect["nab_low_fp"] == perfect["nab_low_fn"] == pytest.approx(100)
    assert result([np.zeros(len(one.values_NC)) for one in found])["nab"] == 0
    rng = np.random.default_rng(0)
    random = [result([rng.random(len(one.values_NC)) for one in found])["nab"] for _ in range(3)]
    assert 5 < np.mean(random) < 17


@needs_data
def test_series_as_published():
    """One whose clock is set back, so that dates repeat; one by its name."""
    _, (machine,) = nab.read("machine_temperature")
    assert len(machine.values_NC) == 22695 and machine.calibration == 750 and len(machine.windows) == 4
    assert (np.diff(machine.times_N) <= np.timedelta64(0, "s")).sum() > 0
    assert str(machine.times_N[machine.windows[0][0]]) == "2013-12-10T06:25:00"
    with pytest.raises(UsageError, match=r"data\.only 'nothing' is in no name of a series, such as"):
        nab.read("nothing")
