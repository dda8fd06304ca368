"""Rows against the languages' strings written out."""

import collections

import numpy as np
import pytest

from xlstm_jax.data.problems.counting import LANGUAGES, SYMBOLS, Counting, batch, steps, vocab_size

CASES = {"anbn": lambda n: "S" + "a" * n + "b" * n + "T", "anbncn": lambda n: "S" + "a" * n + "b" * n + "c" * n + "T"}


def spelt(tokens):
    return "".join(SYMBOLS[token] for token in tokens).rstrip(".")


@pytest.mark.parametrize("language", CASES)
def test_rows_are_strings_and_what_may_follow(language):
    letters, written = LANGUAGES[language], CASES[language]
    strings = [written(n) for n in range(1, 40)]
    n_B = np.arange(1, 13)
    rows = batch(letters, n_B, steps(letters, 12))
    assert rows.legal_BTA.shape == (12, steps(letters, 12), vocab_size(letters))
    assert np.array_equal(rows.lengths_B, rows.mask_BT.sum(axis=1))
    for row, n in enumerate(n_B):
        string = written(n)
        assert spelt(rows.inputs_BT[row]) == string[:-1] and spelt(rows.targets_BT[row]) == string[1:]
        assert rows.mask_BT[row].sum() == len(string) - 1 == steps(letters, n)
        for step in range(rows.legal_BTA.shape[1]):
            legal = {SYMBOLS[symbol] for symbol in np.flatnonzero(rows.legal_BTA[row, step])}
            prefix = string[: step + 1]
            follows = {other[step + 1] for other in strings if other.startswith(prefix) and len(other) > step + 1}
            assert legal == (follows if step < len(string) - 1 else set())


@pytest.mark.parametrize("language", CASES)
def test_each_n_is_drawn_as_often(language):
    problem = Counting(LANGUAGES[language], 6)
    rows = problem.rows(np.random.default_rng(0), 6000)
    counts = collections.Counter(map(spelt, rows.inputs_BT))
    assert set(counts) == {CASES[language](n)[:-1] for n in range(1, 7)}
    assert all(abs(count - 1000) < 160 for count in counts.values())
    assert rows.inputs_BT.shape[1] == problem.length == max(map(len, counts))
