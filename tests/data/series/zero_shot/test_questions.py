"""What a user asks a forecaster, in each of its forms, and what is refused."""

import json

import numpy as np
import pytest

from xlstm_jax.data.series.zero_shot.questions import collated, read_question
from xlstm_jax.errors import UsageError

NAN = np.nan


@pytest.mark.parametrize(
    "text", ["1 2 NA 4", "1, 2, ?, 4", "1;2;null;4", "[1, 2, null, 4.0]", '{"values": [1, 2, null, 4]}']
)
def test_series_as_numbers(text):
    question = read_question(text, 7)
    np.testing.assert_array_equal(question.values_T, [1, 2, NAN, 4])
    assert question.horizon == 7 and question.covariates_SC.shape == (11, 0)


def test_covariates():
    text = json.dumps(
        {"values": [1, 2, 3], "horizon": 2, "covariates": {"a": [4, 5, 6]}, "known": {"b": [1, 0, 0, None, 1]}}
    )
    question = read_question(text, 7)
    np.testing.assert_array_equal(question.covariates_SC, [[4, 1], [5, 0], [6, 0], [NAN, NAN], [NAN, 1]])
    assert question.future_C.tolist() == [False, True] and question.horizon == 2


def test_files(tmp_path):
    """A column of a CSV file; the first column may hold dates."""
    (tmp_path / "one.csv").write_text("load\n1\n\n2\nNA\n4\n")
    np.testing.assert_array_equal(read_question(f"{tmp_path}/one.csv", 7).values_T, [1, 2, NAN, 4])
    (tmp_path / "two.csv").write_text("date;load;heat\n2020-01-01;1;5\n2020-01-02;2;6\n")
    np.testing.assert_array_equal(read_question(f"{tmp_path}/two.csv:heat", 7).values_T, [5, 6])
    (tmp_path / "words.csv").write_text("load\n1\nmuch\n")
    for name, message in (
        ("words.csv", "words.csv' line 3: load 'much' is not a number"),
        ("two.csv", "has the columns 'load, heat'; choose one: .*two.csv:COLUMN"),
        ("two.csv:cold", "has no column 'cold'; it has 'load, heat'"),
        ("none.csv", "cannot read"),
    ):
        with pytest.raises(UsageError, match=message):
            read_question(f"{tmp_path}/{name}", 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", "the input is empty; give the numbers of a series"),
        ("1 2 x", "value 3, 'x', is not a number"),
        ("1 2 inf", "value 3, 'inf', is not a finite number"),
        ("[1, true]", "value 2, True, is not a finite number"),
        ("[[1, 2]]", "is not a number"),
        ("[]", "give a list of numbers"),
        ("NA NA", "the series has no value"),
        ("{", "is not JSON"),
        ("{}", "values is not allowed"),
        ('{"values": [1], "season": 3}', "key 'season' is unknown; allowed: values, horizon"),
        ('{"values": [1], "horizon": 0}', "horizon 0 is not allowed; give 1 to 10,000"),
        ('{"values": [1], "horizon": 1.5}', "horizon 1.5 is not allowed"),
        ('{"values": [1, 2], "covariates": {"a": [1]}}', "'a' has 1 values; give 2, as many as the series"),
        (
            '{"values": [1, 2], "horizon": 3, "known": {"a": [1]}}',
            "give 2, as many as the series and 3 for the horizon",
        ),
        ('{"values": [1, 2], "known": [1]}', "give an object such as"),
    ],
)
def test_questions_that_cannot_be(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_question(text, 7)
    assert "\n" not in str(caught.value)


def test_batches_end_together():
    """Contexts are standardised in float64, cut to the last steps, and padded in front."""
    large = read_question(
        json.dumps({"values": [1e9 + 1, 1e9 + 2, 1e9 + 3], "known": {"a": [1, 2, 3, 4, 5]}, "horizon": 2}), 7
    )
    long = read_question(" ".join(map(str, range(10))), 3)
    batch = collated([large, long], 4)
    assert batch.horizon == 3
    np.testing.assert_array_equal(batch.seen_BT, [[0, 1, 1, 1], [1, 1, 1, 1]])
    np.testing.assert_allclose(batch.values_BT[0, 1:], np.array([-1, 0, 1]) / np.sqrt(2 / 3), rtol=1e-6)
    np.testing.assert_allclose(batch.values_BT[1], (np.arange(6, 10) - 4.5) / np.std(np.arange(10)), rtol=1e-6)
    np.testing.assert_array_equal(batch.covariates_BSC[0, :, 0], [0, 1, 2, 3, 4, 5, 0])
    np.testing.assert_array_equal(batch.covariates_seen_BSC[0, :, 0], [0, 1, 1, 1, 1, 1, 0])
    assert not batch.covariates_seen_BSC[1].any() and batch.future_BC.tolist() == [[True], [False]]
    constant = read_question("5 5 5", 2)
    np.testing.assert_array_equal(collated([constant], 4).values_BT, 0)
