"""Codecs: there and back, through JSON, and what they refuse."""

import json

import numpy as np
import pytest

from xlstm_jax.data.codecs import Labels, Levels, Numbers, Symbols, Vocabulary, padded, power_of_two
from xlstm_jax.errors import UsageError

CODECS = [
    Symbols((".", "a", "go")),
    Numbers(2),
    Labels(("bad", "good")),
    Levels((0.1, 0.5)),
    Vocabulary(("the", "cat")),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.kind)
def test_json_and_back(codec):
    data = json.loads(json.dumps(codec.to_json()))
    assert type(codec).from_json(data).to_json() == data and data["kind"] == codec.kind
    values = {"names": [1], "words": [1], "width": "1", "levels": [1]}
    for wrong in ({}, [], {"kind": "other"}, data | values, {"kind": codec.kind}):
        with pytest.raises(UsageError, match="is damaged"):
            type(codec).from_json(wrong)


def test_symbols():
    codec = Symbols((".", "a", "b", "go"))
    np.testing.assert_array_equal(codec.encode("a go b"), [1, 3, 2])
    np.testing.assert_array_equal(codec.encode("abba"), [1, 2, 2, 1])
    assert codec.decode([1, 3]) == "a go"
    for text, message in (("a x", "symbol 'x' is unknown; the symbols are . a b go"), (" ", "the input is empty")):
        with pytest.raises(UsageError, match=message):
            codec.encode(text)


def test_numbers():
    for text in ("1 2 3 4", "1, 2, 3, 4", "[[1, 2], [3, 4]]", "[1, 2, 3, 4]"):
        np.testing.assert_array_equal(Numbers(2).encode(text), [[1, 2], [3, 4]])
    assert Numbers(1).encode("0.5").dtype == np.float32
    for text in ("", "a", "1 2 3", "[[1], [2]]", "nan 1", "[1, [2]]", "{}", "[" * 10_000):
        with pytest.raises(UsageError, match=r"is not (allowed|a list of numbers)"):
            Numbers(2).encode(text)


def test_vocabulary_by_frequency():
    codec = Vocabulary.of([["b", "a", "b"], ["c", "a", "b"]])
    assert codec.words == ("b", "a", "c") and len(codec) == 5
    np.testing.assert_array_equal(codec.encode(["a", "zebra", "b"]), [3, Vocabulary.UNKNOWN, 2])
    assert Vocabulary.of([["b", "a", "b"]], least=2).words == ("b",)


def test_probabilities_are_sorted():
    shares = Labels(("bad", "fair", "good")).probabilities(np.log([0.2, 0.1, 0.7]))
    assert list(shares) == ["good", "bad", "fair"] and sum(shares.values()) == pytest.approx(1)
    assert shares["good"] == pytest.approx(0.7)


def test_padded():
    array_BT, lengths_B = padded([np.array([1, 2, 3]), np.array([4])], multiple_of=4)
    np.testing.assert_array_equal(array_BT, [[1, 2, 3, 0], [4, 0, 0, 0]])
    np.testing.assert_array_equal(lengths_B, [3, 1])
    assert padded([np.zeros((0, 5))])[0].shape == (1, 1, 5)
    assert [power_of_two(length) for length in (1, 8, 9, 64, 65)] == [8, 8, 16, 64, 128]


def test_one_class_is_not_enough():
    assert Labels.of(["a", "b"]).names == ("a", "b")
    for names, found in ((["ok"], "all have the class 'ok'"), ([], "there are none")):
        with pytest.raises(UsageError, match=f"do not differ in class: {found}; give examples of two or more"):
            Labels.of(names)
