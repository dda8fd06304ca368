"""Windows of series: splits, batches, the calendar."""

import numpy as np
import pytest

from xlstm_jax.data.series.forecasts.windows import (
    EvaluationWindows,
    Series,
    TrainWindows,
    calendar,
    parts,
    split_of,
)
from xlstm_jax.errors import UsageError

ROWS = np.arange(100, dtype=np.float32)
SERIES = Series(np.stack([ROWS, -ROWS, 2 * ROWS], axis=1), ROWS[:, None], np.stack([ROWS % 7 > 0, ROWS >= 0], axis=1))
ALL = slice(None)


def test_a_split_scores_each_of_its_rows():
    """Published: of 12 + 4 + 4 months of hours, horizons of validation and test begin at their first rows."""
    starts = parts(17_420, (8640, 2880, 2880), 336, 96)
    assert {name: (rows[0], rows[-1], len(rows)) for name, rows in starts.items()} == {
        "train": (336, 8544, 8209),
        "validation": (8640, 11_424, 2785),
        "test": (11_520, 14_304, 2785),
    }
    shares = parts(966, (0.7, 0.1, 0.2), 104, 24)
    assert shares["train"][-1] + 24 == 676 == shares["validation"][0] and shares["test"][-1] + 24 == 966
    assert shares["test"][0] == 966 - 193  # 20% from the end, rounded down as in the papers' code


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ((1, 2), "give three positive numbers"),
        ((50, 0, 50), "give three positive numbers"),
        ((0.7, 0.3, 0.3), "shares must add up to at most 1"),
        ((60, 30, 20), "at most 100 in all"),
        ((60.5, 20, 10), "give whole rows"),
        ((60, 5, 30), "the validation part has 5 rows, too few for a horizon of 8 after a context of 16"),
        ((20, 40, 40), "the train part has 20 rows, too few"),
    ],
)
def test_splits_that_cannot_be(split, message):
    with pytest.raises(UsageError, match=message):
        parts(100, split, 16, 8)


def test_splits_as_texts():
    assert split_of("0.7, 0.1,0.2") == (0.7, 0.1, 0.2) and split_of("60,30") == (60, 30)
    for text in ("a,b,c", "60,30,", ""):
        with pytest.raises(UsageError, match=f"data.split '{text}' is not allowed; give three numbers such as 8640"):
            split_of(text)


def test_a_window_is_context_and_horizon():
    batch = SERIES.windows(np.array([16, 50]), 16, 8)
    np.testing.assert_array_equal(batch.past_BTF[0, :, 0], np.arange(16))
    np.testing.assert_array_equal(batch.known_BSK[1, :, 0], np.arange(34, 58))
    np.testing.assert_array_equal(batch.future_BHC[1], np.stack([np.arange(50, 58), -np.arange(50, 58)], axis=1))
    np.testing.assert_array_equal(batch.scored_BHC[1, :, 0], np.arange(50, 58) % 7 > 0)


def test_an_epoch_has_every_window_once():
    starts = np.arange(16, 93)
    batches = TrainWindows(SERIES, starts, 16, 8, batch_size=8, seed=3, part=ALL)
    drawn = [batches[index].future_BHC[:, 0, 0] for index in range(len(starts) // 8)]
    assert len(np.unique(drawn)) == np.size(drawn) and set(np.ravel(drawn)) <= {*starts}
    part = TrainWindows(SERIES, starts, 16, 8, batch_size=8, seed=3, part=slice(2, 4))[7].past_BTF
    np.testing.assert_array_equal(part, batches[7].past_BTF[2:4])
    with pytest.raises(UsageError, match="batch_size 78 is more than the 77 training windows"):
        TrainWindows(SERIES, starts, 16, 8, batch_size=78, seed=0, part=ALL)


def test_evaluation_scores_each_window_once():
    source = EvaluationWindows(SERIES, np.arange(20, 33), 16, 8, batch_size=5, part=ALL)
    scored = [row for index in range(len(source)) for row in source[index].scored_BHC.any((1, 2))]
    assert scored == [True] * 13 + [False] * 2


def test_the_calendar_by_hand():
    times = np.array(["2020-01-06T06:00:00", "2020-01-12T12:00:00"], "datetime64[s]")  # a Monday, a Sunday
    names, values_NK = calendar(times)
    assert names[0] == "sine of the day" and len(names) == values_NK.shape[1] == 6
    np.testing.assert_allclose(values_NK[:, 0], [1, 0], atol=1e-12)
    np.testing.assert_allclose(values_NK[:, 1], [0, -1], atol=1e-12)
    np.testing.assert_allclose(values_NK[:, 2], np.sin(2 * np.pi * np.array([0.25, 6.5]) / 7), atol=1e-12)
