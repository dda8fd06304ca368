"""A part for validation."""

import pytest

from xlstm_jax.data.parts import with_part, with_validation
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
