"""Scores of free runs by hand, whole or in parts."""

import numpy as np
import pytest

from xlstm_jax.data.problems.chaos import SYSTEMS
from xlstm_jax.tasks.base import added
from xlstm_jax.tasks.free_run_scores import VALID, derived, score_sums


def scores(run_BKD, future_BKD, system, parts=1):
    sums = {}
    for run, future in zip(np.split(run_BKD, parts), np.split(future_BKD, parts), strict=True):
        sums = added(sums, score_sums(run, future))
    return derived(sums, system)


def test_by_hand():
    """The error of a run is the same in both variables, and grows at its own rate."""
    growth_B, time_K = np.array([0.01, 0.055, 0.15, 0.031], np.float32), np.arange(1, 21, dtype=np.float32) - 0.2
    error_BK = growth_B[:, None] * time_K
    future_BKD = np.random.default_rng(0).standard_normal((4, 20, 2)).astype(np.float32)
    run_BKD = future_BKD + error_BK[..., None]
    assert [np.sum(error_K < VALID) for error_K in error_BK] == [20, 7, 2, 13]
    lorenz = SYSTEMS["lorenz"]
    result = scores(run_BKD, future_BKD, lorenz)
    # Of an even number of runs, the lower one in the middle.
    assert result == pytest.approx({"doubling": 2, "valid_steps": 7, "valid_time": 7 * 0.02 * 0.9056})
    assert scores(run_BKD, future_BKD, lorenz, parts=2) == pytest.approx(result)
    known = scores(run_BKD, future_BKD, SYSTEMS["mackey_glass_17"]._replace(ahead=5))
    assert known["nrmse_5"] == pytest.approx(4.8 * np.sqrt(np.mean(growth_B**2)), rel=1e-4)
    assert scores(run_BKD, future_BKD, None).keys() == {"doubling", "valid_steps"}


def test_what_never_happens_counts_as_the_whole_run():
    same = np.zeros((2, 90, 1), np.float32)
    result = scores(same, same, SYSTEMS["mackey_glass_17"])
    assert result["doubling"] == result["valid_steps"] == 90 and result["nrmse_84"] == 0
