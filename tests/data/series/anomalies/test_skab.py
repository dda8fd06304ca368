"""SKAB: rates by hand, and the leaderboard's figures for T2 and Q from its own limits."""

import numpy as np
import pytest
from scipy import stats

from tests.mirror import needs_mirror
from xlstm_jax.data.series.anomalies import skab
from xlstm_jax.data.series.anomalies.control_charts import t2_q
from xlstm_jax.errors import UsageError

needs_data = needs_mirror("skab/")


def test_rates_by_hand():
    alarm_N = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    true_N = np.array([1, 1, 0, 1, 1, 1, 0, 0], bool)
    counts = skab.counts(alarm_N, true_N)
    assert counts.tolist() == [2, 1, 3, 2]
    assert skab.result(counts) == pytest.approx({"f1": 4 / 8, "false_alarms": 100 / 3, "missed_alarms": 60})
    assert skab.result(skab.counts(alarm_N & False, true_N & False)) == {
        "f1": 0,
        "false_alarms": 0,
        "missed_alarms": 0,
    }


@needs_data
def test_the_leaderboard():
    """T2 + Q has F1 0.76, 26.62% false and 24.92% missed alarms there.

    Its limit of Q uses powers of a sum of eigenvalues in the order in which they are computed, unlike `t2_q`.
    """
    channels, found = skab.read()
    assert len(found) == 34 and len(channels) == 8 and channels.names[-1] == "Volume Flow RateRMS"
    assert sum(len(one.values_NC) - 400 for one in found) == 23801
    total, always, ours = np.zeros(4), np.zeros(4), np.zeros(4)
    for one in found:
        start = one.values_NC[:400]
        z = (one.values_NC - start.mean(0)) / start.std(0)
        covariance = np.cov(z[:400].T)
        sizes, axes = np.linalg.eigh(covariance)
        k = 1 + np.searchsorted(np.cumsum(sizes[::-1]) / sizes.sum(), 0.85, side="right")
        parts = z @ axes[:, ::-1][:, :k]
        t2, q = (parts**2 / sizes[::-1][:k]).sum(1), (z**2).sum(1) - (parts**2).sum(1)
        t2, q = (np.append([0] * 4, np.median(np.lib.stride_tricks.sliding_window_view(s, 5), 1)) for s in (t2, q))
        rest = np.linalg.eig(covariance)[0][k:].sum()
        q_limit = rest * (1 - 2 / 9 + np.sqrt(2) / 3 * stats.norm.ppf(0.999)) ** 3
        t2_limit = k * 399 * 401 / (400 * (400 - k)) * stats.f.ppf(0.999, k, 400 - k)
        true = one.anomalous_N[400:]
        total += skab.counts(((t2 > t2_limit) | (q > q_limit))[400:], true)
        always += skab.counts(true | True, true)
        ours += skab.counts((t2_q(one.values_NC, 400) > 1)[400:], true)
    assert skab.result(total) == pytest.approx({"f1": 0.758, "false_alarms": 26.6, "missed_alarms": 24.9}, abs=0.1)
    assert skab.result(always)["f1"] == pytest.approx(0.698, abs=5e-4)
    assert skab.result(ours)["f1"] == pytest.approx(0.749, abs=2e-3)


@needs_data
def test_one_experiment():
    _, (one, *others) = skab.read("valve2/")
    assert one.name == "valve2/0.csv" and len(others) == 3 and one.calibration == 400
    assert one.anomalous_N.sum() == 394 and not one.anomalous_N[:400].any()
    with pytest.raises(UsageError, match=r"data\.only 'valve3' is in no name of an experiment"):
        skab.read("valve3")
