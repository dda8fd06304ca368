"""Checks strings against an enumeration of the grammar, and legal symbols against the prefixes of all strings."""

import collections

import numpy as np
import pytest

from xlstm_jax.data.problems.embedded_reber import SHORTEST, SYMBOLS, EmbeddedReber

INNER = {"0": "T1P2", "1": "S1X3", "2": "T2V4", "3": "X2S5", "4": "P3V5"}


def inner(longest, so_far="", node="0"):
    """All paths through Reber's graph with at most the given number of symbols."""
    if node == "5":
        yield so_far
    elif len(so_far) < longest:
        for symbol, to in zip(INNER[node][::2], INNER[node][1::2], strict=True):
            yield from inner(longest, so_far + symbol, to)


def embedded(longest):
    """All strings with at most the given number of symbols, with their probabilities: one half for each choice."""
    return {f"B{outer}B{middle}E{outer}E": 0.5 ** (1 + len(middle)) for outer in "TP" for middle in inner(longest - 6)}


def spelt(batch):
    for tokens, targets, mask in zip(batch.inputs_BT, batch.targets_BT, batch.mask_BT, strict=True):
        steps = mask.sum()
        assert np.array_equal(mask, np.arange(len(mask)) < steps) and not tokens[steps:].any()
        assert not targets[steps:].any() and np.array_equal(tokens[1:steps], targets[: steps - 1])
        yield "".join(SYMBOLS[symbol] for symbol in (*tokens[:steps], targets[steps - 1]))


@pytest.fixture(scope="module")
def strings():
    return embedded(21)


@pytest.mark.parametrize("shortest, length", [(SHORTEST, 12), (13, 20)])
def test_strings_are_the_grammars(strings, shortest, length):
    """The frequency of each string matches its probability among strings of an allowed length."""
    probability = {string: p for string, p in strings.items() if shortest <= len(string) - 1 <= length}
    total, count = sum(probability.values()), 6_000
    drawn = collections.Counter(spelt(EmbeddedReber(shortest, length).rows(np.random.default_rng(0), count)))
    assert set(drawn) <= set(probability)
    expected = {string: count * p / total for string, p in probability.items() if count * p / total > 10}
    assert len(expected) > 10
    for string, mean in expected.items():
        assert abs(drawn[string] - mean) < 5 * mean**0.5, string


def test_legal_symbols_are_those_that_go_on(strings):
    """The symbols with which some string continues each prefix."""
    follows = collections.defaultdict(set)
    for string in strings:
        for at in range(1, len(string)):
            follows[string[:at]].add(string[at])
    batch = EmbeddedReber(SHORTEST, 12).rows(np.random.default_rng(1), 64)
    assert np.array_equal(batch.lengths_B, batch.mask_BT.sum(axis=1))
    for string, legal_TA in zip(spelt(batch), batch.legal_BTA, strict=True):
        for step in range(len(string) - 1):
            assert {SYMBOLS[symbol] for symbol in np.flatnonzero(legal_TA[step])} == follows[string[: step + 1]]
        assert not legal_TA[len(string) - 1 :].any()


def test_long_strings_are_drawn_at_once():
    """Only one in many millions of the grammar's strings has 200 steps."""
    batch = EmbeddedReber(200, 220).rows(np.random.default_rng(2), 16)
    steps_B = batch.mask_BT.sum(axis=1)
    assert (steps_B >= 200).all() and (steps_B <= 220).all()
    for string in spelt(batch):
        assert string[1] == string[-2] and string[:3] in ("BTB", "BPB") and string[-3:] in ("ETE", "EPE")
