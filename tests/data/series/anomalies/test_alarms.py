"""Scores against loops written from their definitions, and that no score depends on later rows."""

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.alarms import (
    beyond,
    fresh,
    onset_scores,
    state_scores,
    stretches,
    surprise,
    trailing_mean,
)

X = np.random.default_rng(0).standard_normal((200, 2)).cumsum(0) + 1e6


def test_surprise_is_the_distance_from_the_past_mean():
    x_N = X[:, 0]
    wanted = [0.0]
    for row in range(1, 200):
        past = x_N[max(0, row - 60) : row]
        wanted.append(min(abs(x_N[row] - past.mean()) / max(past.std(), 1e-6), 50))
    np.testing.assert_allclose(surprise(x_N, memory=60)[2:], wanted[2:], rtol=1e-5)
    assert surprise(np.append(np.zeros(20), 1.0))[-1] == 50 and (surprise(np.full(9, 3.0)) == 0).all()


def test_trailing_means():
    wanted = np.stack([X[max(0, row - 9) : row + 1].mean(0) for row in range(200)])
    np.testing.assert_allclose(trailing_mean(X, 10), wanted, rtol=1e-12)
    np.testing.assert_allclose(trailing_mean(X[:, 0], 10), wanted[:, 0], rtol=1e-12)


def test_beyond_the_range_so_far():
    x_N = np.append(np.tile([0.0, 10.0], 30), [10.05, 10.2, 10.2, 5, -0.2])
    assert np.flatnonzero(beyond(x_N)).tolist() == [61, 64]
    assert not beyond(np.append(np.zeros(49), 1.0)).any()


def test_fresh_scores_are_records():
    score_N = np.array([1, 3, 2, 2.5, 2.9, 2.6, 2, 5.0])
    assert fresh(score_N, 3).tolist() == [1, 3, 0, 0, 0, 0, 0, 5]
    assert fresh(score_N, 2).tolist() == [1, 3, 0, 0, 2.9, 0, 0, 5]
    assert fresh(score_N, 0).tolist() == score_N.tolist()


def test_onset_scores_by_hand():
    residuals_NC = np.random.default_rng(1).standard_normal((200, 2))
    channels = [
        surprise(residuals_NC[:, c])
        + surprise(trailing_mean(residuals_NC[:, c], 30))
        + surprise(trailing_mean(X[:, c], 30))
        + 7.5 * beyond(X[:, c])
        for c in (0, 1)
    ]
    np.testing.assert_allclose(onset_scores(X, residuals_NC, 40), fresh(np.maximum(*channels), 24))


def test_state_scores_by_hand():
    """Two channels; the second one drifts after training, and counts less for that."""
    errors_NC = np.random.default_rng(2).standard_normal((200, 2))
    errors_NC[60:80, 1] += 3
    mean_NC = np.stack([errors_NC[max(0, t - 19) : t + 1].mean(0) for t in range(200)])
    size_C = np.maximum(*(np.sqrt((mean_NC[part] ** 2).mean(0)) for part in (slice(60), slice(60, 80))))
    assert size_C[1] > 2 * size_C[0]
    statistic_N = np.sqrt(((mean_NC / size_C) ** 2).mean(1))
    np.testing.assert_allclose(state_scores(errors_NC, 60, 80), statistic_N / (2 * statistic_N[60:80].max()))
    assert (state_scores(np.zeros((90, 2)), 60, 80) == 0).all()
    np.testing.assert_allclose(
        state_scores(errors_NC, 80, 80) * 2 * state_scores(errors_NC, 80, 80)[:80].max(),
        state_scores(errors_NC, 80, 80),
    )


@pytest.mark.parametrize("cut", [90, 91, 150])
def test_no_score_depends_on_later_rows(cut):
    residuals_NC = np.random.default_rng(3).standard_normal((200, 2))
    changed = np.where(np.arange(200)[:, None] < cut, X, -X)
    other = np.where(np.arange(200)[:, None] < cut, residuals_NC, 100)
    np.testing.assert_array_equal(onset_scores(X, residuals_NC, 40)[:cut], onset_scores(changed, other, 40)[:cut])
    np.testing.assert_array_equal(state_scores(residuals_NC, 60, 80)[:cut], state_scores(other, 60, 80)[:cut])


def test_stretches():
    assert stretches(np.array([1, 0, 1, 1, 0, 1], bool)) == [(0, 0), (2, 3), (5, 5)] and stretches(np.zeros(2)) == []
