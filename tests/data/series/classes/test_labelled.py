"""How parts of labelled series are cut."""

import numpy as np
import pytest

from xlstm_jax.data.series.classes.labelled import Part, with_cut
from xlstm_jax.errors import UsageError


def test_every_class_is_in_every_part():
    """The same cut each time; nothing is lost or there twice; a share of each class, one series at least."""
    labels = np.array(["a"] * 50 + ["b"] * 20 + ["c"] * 3)
    data = {"train": Part([np.full((2, 1), n) for n in range(73)], labels)}
    cut, again = (with_cut(with_cut(data, "test", 0.2), "validation", 0.1) for _ in range(2))
    numbers, repeated = (
        {name: [int(one[0, 0]) for one in part.series] for name, part in c.items()} for c in (cut, again)
    )
    assert sorted(n for part in numbers.values() for n in part) == list(range(73)) and numbers == repeated
    assert all((labels[numbers[name]] == part.labels).all() for name, part in cut.items())
    counts = {name: [list(part.labels).count(label) for label in "abc"] for name, part in cut.items()}
    assert counts == {"train": [36, 14, 1], "test": [10, 4, 1], "validation": [4, 2, 1]}


def test_cuts_that_cannot_be():
    data = {"train": Part([np.zeros((2, 1))] * 3, np.array(["a", "a", "b"]))}
    with pytest.raises(UsageError, match="class 'b' has too few series to cut one for test; give 3 or more"):
        with_cut(data, "test", 0.5)
    with pytest.raises(UsageError, match=r"data\.validation 0 is not allowed"):
        with_cut(data, "validation", 0.0)
