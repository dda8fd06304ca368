"""Parts that are cut, and folds."""

import numpy as np
import pytest

from xlstm_jax.data.parts import class_names, fold_of, with_part, with_validation
from xlstm_jax.errors import UsageError


def test_a_part_for_validation():
    parts = with_validation({"train": list(range(20)), "test": [0]}, 0.1)
    assert [len(part) for part in parts.values()] == [18, 2, 1] and list(parts) == ["train", "validation", "test"]
    assert sorted(parts["train"] + parts["validation"]) == list(range(20)) and parts["train"] == sorted(parts["train"])
    assert with_validation({"train": list(range(20))}, 0.1)["validation"] == parts["validation"]
    there = {"train": [1, 2], "validation": [3]}
    assert with_validation(there, 0.5) == there


@pytest.mark.parametrize(("share", "count"), [(0.0, 20), (0.5, 1), (0.0, 0)])
def test_too_few(share, count):
    with pytest.raises(UsageError, match=r"give a share such as 0\.1, or a file for validation"):
        with_validation({"train": list(range(count))}, share)


@pytest.mark.parametrize(("folds", "classes"), [(10, 3), (5, 2)])
def test_folds(folds, classes):
    """Each row is tested once; no row is in two splits; classes have the same share in all."""
    label_N = np.random.default_rng(0).choice(classes, 3000, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    tested = []
    for fold in range(folds):
        parts = fold_of(label_N, fold, folds)
        assert sorted(np.concatenate(list(parts.values()))) == list(range(3000))
        assert len(parts["test"]) == pytest.approx(3000 / folds, abs=classes)
        assert len(parts["validation"]) == pytest.approx((3000 - 3000 / folds) / 10, rel=0.1)
        for part in parts.values():
            shares = np.bincount(label_N[part]) / len(part)
            np.testing.assert_allclose(shares, np.bincount(label_N) / 3000, atol=0.04)
        assert all(map(np.array_equal, parts.values(), fold_of(label_N, fold, folds).values()))
        tested += parts["test"].tolist()
    assert sorted(tested) == list(range(3000))


def test_names_of_classes_are_in_order():
    assert class_names(["10", "9", "-1", "10"]) == ["-1", "9", "10"]
    assert class_names(["10", "9", "up"]) == ["10", "9", "up"]


def test_a_part_for_testing():
    """With other examples than a part for validation of the same share."""
    train = {"train": list(range(20))}
    test = with_part(train, "test", 0.1)
    assert list(test) == ["train", "test"] and test["test"] != with_validation(train, 0.1)["validation"]
    assert list(with_validation(test, 0.1)) == ["train", "validation", "test"]
    with pytest.raises(
        UsageError, match=r"data\.test 0 does not fit 20 .* give a share such as 0\.1, or a file for test"
    ):
        with_part(train, "test", 0.0)
