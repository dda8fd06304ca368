"""Parts of days: by date, by share, and those that are too short."""

import numpy as np
import pytest

from xlstm_jax.data.price_parts import INDEX_LAST_DAYS, parts
from xlstm_jax.errors import UsageError

DAYS = np.datetime64("2011-12-01") + np.arange(0, 1600, 2)  # every other day


def test_by_date():
    """A last day belongs to its part, whether prices are known of it or not."""
    found = parts(DAYS, INDEX_LAST_DAYS, 10)
    assert [part.start for part in found.values()] == [0, 16, 564] and found["test"].stop == 800
    assert str(DAYS[15]) == "2011-12-31" and str(DAYS[563]) == "2014-12-31"
    assert parts(DAYS, " 2012-01-01 ,2014-12-31", 10) == found


def test_by_share():
    assert parts(DAYS, "", 10) == {"train": slice(0, 560), "validation": slice(560, 680), "test": slice(680, 800)}


@pytest.mark.parametrize(
    ("last_days", "message"),
    [
        ("2012-01-01", "is not allowed; give the last day of training and that of validation"),
        ("2012-01-01,2012-01-01", "is not allowed"),
        ("2012-01-01,soon", "is not allowed"),
        ("2012-01-01,2013-01-01,2014-01-01", "is not allowed"),
        ("2011-12-10,2013-01-01", "split 'train' has 5 days, and needs at least 10; change data.last_days"),
        ("2012-12-10,2012-12-12", "split 'validation' has 1 days, and needs at least 2"),
        ("2012-12-10,2030-01-01", "split 'test' has 0 days, and needs at least 2"),
    ],
)
def test_parts_that_cannot_be(last_days, message):
    with pytest.raises(UsageError, match=message) as caught:
        parts(DAYS, last_days, 10)
    assert "\n" not in str(caught.value)
