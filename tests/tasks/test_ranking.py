"""Areas under curves: by their definitions, pair by pair and threshold by threshold, and as scikit-learn has them."""

import math

import numpy as np
import pytest

from xlstm_jax.tasks.ranking import average_precision, roc_auc


def auc_by_pairs(scores, positive):
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    return sum(won) / len(won)


def precision_by_thresholds(scores, positive):
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        recall = (taken & positive).sum() / positive.sum()
        total += (recall - before) * (taken & positive).sum() / taken.sum()
        before = recall
    return total


CASES = [(count, levels, seed) for count in (2, 7, 60) for levels in (2, 5, 10**6) for seed in range(3)]


@pytest.mark.parametrize(("count", "levels", "seed"), CASES)
def test_by_definition(count, levels, seed):
    """With many equal scores and with none."""
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(count) < max(1, count // 3))
    scores = (rng.integers(0, levels, count) + positive * (levels // 3)).astype(np.float32)
    assert roc_auc(scores, positive) == pytest.approx(auc_by_pairs(scores, positive), abs=1e-12)
    assert average_precision(scores, positive) == pytest.approx(precision_by_thresholds(scores, positive), abs=1e-12)
    metrics = pytest.importorskip("sklearn.metrics")
    assert roc_auc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)
    wanted = metrics.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(wanted, abs=1e-12)


def test_the_ends():
    died = np.array([0, 0, 1, 1])
    assert roc_auc(np.array([1, 2, 3, 4]), died) == average_precision(np.array([1, 2, 3, 4]), died) == 1
    assert roc_auc(np.array([4, 3, 2, 1]), died) == 0
    assert roc_auc(np.zeros(4), died) == average_precision(np.zeros(4), died) == 0.5
    assert math.isnan(roc_auc(np.zeros(2), np.ones(2))) and math.isnan(average_precision(np.zeros(2), np.zeros(2)))
