"""Folds and batches of stays."""

import numpy as np
import pytest

from xlstm_jax.data.series.stays.rows import EvaluationStays, StayRows, TrainStays, fold_parts
from xlstm_jax.errors import UsageError


def test_folds():
    """Each stay is in one test split; deaths are spread evenly; nothing is in two splits."""
    died_N = (np.random.default_rng(0).random(1000) < 0.14).astype(np.int32)
    tested = []
    for fold in range(5):
        parts = fold_parts(died_N, fold)
        everything = np.concatenate(list(parts.values()))
        assert sorted(everything) == list(range(1000))
        for name, size in {"train": 720, "validation": 80, "test": 200}.items():
            assert len(parts[name]) == pytest.approx(size, abs=8)
            assert died_N[parts[name]].mean() == pytest.approx(died_N.mean(), abs=0.02)
        assert all(map(np.array_equal, parts.values(), fold_parts(died_N, fold).values()))
        tested += parts["test"].tolist()
    assert sorted(tested) == list(range(1000))
    with pytest.raises(
        UsageError, match=r"split 'train' of fold 0 has 0 deaths among \d+ stays; give at least 10 stays"
    ):
        fold_parts(np.repeat([0, 1], [50, 5]), 0)


def test_batches():
    rng = np.random.default_rng(0)
    rows = StayRows(rng.standard_normal((20, 12, 6)).astype(np.float32), np.arange(20) % 2)
    chosen = np.arange(3, 17)
    source = TrainStays(rows, chosen, batch_size=4, seed=1, part=slice(None))
    epochs = [np.concatenate([source[3 * epoch + n].row_B for n in range(3)]) for epoch in range(3)]
    assert all(len(set(epoch)) == 12 and set(epoch) <= set(chosen) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1]) and set.union(*map(set, epochs)) == set(chosen)
    batch = source[0]
    np.testing.assert_array_equal(batch.inputs_BTD, rows.inputs_NTD[batch.row_B])
    np.testing.assert_array_equal(batch.died_B, batch.row_B % 2)
    scored = EvaluationStays(rows, chosen, batch_size=4, part=slice(None))
    assert len(scored) == 4
    last = scored[3]
    assert np.concatenate([scored[n].row_B for n in range(4)]).tolist() == [*chosen, 20, 20]
    assert last.lengths_B.tolist() == [12, 12, 0, 0] and not last.inputs_BTD[2:].any() and not last.died_B[2:].any()
    with pytest.raises(UsageError, match=r"data.batch_size 15 is more than the 14 training stays; lower it"):
        TrainStays(rows, chosen, batch_size=15, seed=0, part=slice(None))
