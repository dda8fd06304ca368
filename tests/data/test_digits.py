"""Checks the splits against scikit-learn's images, and that batches cover a split once."""

import collections
import sys

import numpy as np
import pytest

from xlstm_jax.data import digits
from xlstm_jax.data.problems.base import FixedBatches, FixedRows
from xlstm_jax.errors import UsageError


@pytest.fixture(scope="module", params=[False, True], ids=["in_order", "permuted"])
def splits(request):
    return digits.read(permuted=request.param)


def whole(splits):
    """Inputs, targets and masks of all images; every row has all steps."""
    assert all(rows.lengths_B is None for rows in splits.values())
    return [np.concatenate(arrays) for arrays in zip(*(rows[:3] for rows in splits.values()), strict=True)]


def test_every_image_stands_in_one_split():
    from sklearn.datasets import load_digits

    images, splits = load_digits(), digits.read(permuted=False)
    tokens_BT1, targets_BT, mask_BT = whole(splits)
    rows = [(pixels.tobytes(), label) for pixels, label in zip(images.data, images.target, strict=True)]
    read = [
        (pixels.tobytes(), label)
        for pixels, label in zip(tokens_BT1.astype(float) * 16, targets_BT[:, -1], strict=True)
    ]
    assert collections.Counter(read) == collections.Counter(rows) and read != rows
    assert {name: len(batch.inputs_BT) for name, batch in splits.items()} == {"train": 1437, "validation": 360}
    assert tokens_BT1.dtype == np.float32 and tokens_BT1.shape == (1797, 64, 1) and tokens_BT1.max() == 1
    assert mask_BT[:, -1].all() and not mask_BT[:, :-1].any() and not targets_BT[:, :-1].any()


def test_pixels_are_permuted_alike_in_all_images():
    """The values at each position, over all images, are those at some other position."""
    (plain, *others), (permuted, *same) = whole(digits.read(permuted=False)), whole(digits.read(permuted=True))
    before, after = ([column.tobytes() for column in tokens[:, :, 0].T] for tokens in (plain, permuted))
    assert collections.Counter(before) == collections.Counter(after)
    assert sum(a == b for a, b in zip(before, after, strict=True)) < 10
    assert all(np.array_equal(a, b) for a, b in zip(others, same, strict=True))


def test_both_splits_have_every_class_in_its_share(splits):
    for batch in splits.values():
        counts = np.bincount(batch.targets_BT[:, -1], minlength=10)
        assert np.allclose(counts / counts.sum(), 0.1, atol=0.04)


@pytest.mark.parametrize("batch_size", [7, 360, 400])
def test_evaluation_reads_each_row_once(splits, batch_size):
    rows = FixedRows(splits["validation"])
    batches = FixedBatches(rows, batch_size=batch_size, rows=slice(None))
    read = [batches[index] for index in range(len(batches))]
    assert all(len(array) == batch_size for batch in read for array in batch[:3])
    there = np.concatenate([batch.mask_BT[:, -1] for batch in read])
    tokens_BT = np.concatenate([batch.inputs_BT for batch in read])
    assert np.array_equal(tokens_BT[there], rows.all.inputs_BT)
    parts = [
        FixedBatches(rows, batch_size=batch_size, rows=part)[len(batches) - 1] for part in (slice(3), slice(3, None))
    ]
    assert all(
        np.array_equal(np.concatenate(pair), whole)
        for *pair, whole in zip(*(part[:3] for part in (*parts, read[-1])), strict=True)
    )


def test_training_draws_among_all_rows(splits):
    rows = FixedRows(splits["validation"])
    drawn = rows.rows(np.random.default_rng(0), 5000)
    known = {row.tobytes() for row in rows.all.inputs_BT}
    assert {row.tobytes() for row in drawn.inputs_BT} == known


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match="pip install scikit-learn"):
        digits.read(permuted=False)
