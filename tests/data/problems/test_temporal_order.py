"""Temporal order: checks rows symbol by symbol, and the intervals of the marks."""

import numpy as np
import pytest

from xlstm_jax.data.problems.temporal_order import TemporalOrder
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.temporal_order import TemporalOrderConfig, TemporalOrderTask

LETTERS = ".EBXYabcd"
PAPER = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}  # experiments 6a and 6b
ORDERS = {2: ["XX", "XY", "YX", "YY"], 3: ["XXX", "XXY", "XYX", "XYY", "YXX", "YXY", "YYX", "YYY"]}


def rows(length, marks, count):
    """Returns (text, target) of each row."""
    batch = TemporalOrder(length, marks).rows(np.random.default_rng(0), count)
    for tokens, targets, mask, steps in zip(*(array.tolist() for array in batch), strict=True):
        text = "".join(LETTERS[token] for token in tokens).rstrip(".")
        assert mask == [step == len(text) - 1 for step in range(length)]
        assert steps == len(text)
        assert targets == [0] * (len(text) - 1) + [targets[len(text) - 1]] + [0] * (length - len(text))
        yield text, targets[len(text) - 1]


@pytest.mark.parametrize("marks", [2, 3])
@pytest.mark.parametrize("length", [11, 12, 13, 37, 110])
def test_the_target_is_the_order(length, marks):
    for text, target in rows(length, marks, 100):
        assert length - length // 11 <= len(text) <= length
        assert text[0] == "E" and text[-1] == "B"
        assert set(text[1:-1]) <= set("XYabcd")
        order = "".join(letter for letter in text if letter in "XY")
        assert len(order) == marks and target == 9 + ORDERS[marks].index(order)


@pytest.mark.parametrize("marks", [2, 3])
def test_lengths_places_and_symbols_are_those_of_the_paper(marks):
    count = 5000
    places, lengths, found = [set() for _ in range(marks)], set(), {}
    for text, target in rows(110, marks, count):
        lengths.add(len(text))
        for number, place in enumerate(step for step, letter in enumerate(text) if letter in "XY"):
            places[number].add(place)
        for symbol in (target, *text):
            found[symbol] = found.get(symbol, 0) + 1
    assert lengths == set(range(100, 111))
    assert places == [set(range(first, last + 1)) for first, last in PAPER[marks]]
    for symbols in ("abcd", range(9, 9 + 2**marks)):
        drawn = [found[symbol] for symbol in symbols]
        assert all(abs(number - np.mean(drawn)) < 5 * np.sqrt(np.mean(drawn)) for number in drawn)


def test_options_that_cannot_be():
    for name in ("sequence_length", "long_length"):
        with pytest.raises(UsageError, match=rf"data\.{name} 10 is not allowed; must be at least 11") as caught:
            TemporalOrderTask(TemporalOrderConfig(**{name: 10}))
        assert "\n" not in str(caught.value)
