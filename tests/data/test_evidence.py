"""Weights of evidence: counts by hand, a training text without its own, and what is damaged."""

import json

import numpy as np
import pytest

from xlstm_jax.data.evidence import Evidence, batch_of
from xlstm_jax.errors import UsageError

ROWS = [np.array(row, np.int32) for row in ([2, 3, 3], [2, 4], [5, 2, 3], [4])]
LABELS = np.array([0, 0, 1, 1])


@pytest.fixture
def evidence():
    return Evidence.of(ROWS, LABELS, vocab_size=6, classes=2)


def weights(*counts):
    """Of counts in class 0, with 5 tokens, and in class 1, with 4."""
    logs = np.log(np.array(counts) + 1.0) - np.log([6, 5])
    return logs - logs.mean()


def test_weights_by_hand(evidence):
    """Token 2 is twice in class 0 and once in class 1; the pair 2 3 once in each, others too rarely to be kept."""
    assert set(evidence.pairs) == {(2, 3), (0, 2)}
    row_TF = evidence.row_of(np.array([2, 3, 5, 1], np.int32))
    assert row_TF.shape == (4, 5) and row_TF.dtype == np.float32
    np.testing.assert_array_equal(row_TF[:, 0], [2, 3, 5, 1])
    wanted = [weights(2, 1), weights(2, 1), weights(0, 1), [0, 0]]  # token 1 is in no training text
    np.testing.assert_allclose(row_TF[:, 1:3], wanted, rtol=1e-6)
    np.testing.assert_allclose(row_TF[:, 3:], [weights(2, 0), weights(1, 1), [0, 0], [0, 0]], rtol=1e-6)


def test_a_training_text_does_not_count_itself(evidence):
    """As if it were not there, but for the sum of all tokens."""
    row_TF = evidence.row_of(ROWS[0], 0)
    others = Evidence.of(ROWS[1:], LABELS[1:], 6, 2)
    np.testing.assert_allclose(row_TF[:, 1:3], [weights(1, 1), weights(0, 1), weights(0, 1)], rtol=1e-6)
    np.testing.assert_array_equal(others.words_VA[[2, 3]], [[1, 1], [0, 1]])
    np.testing.assert_allclose(row_TF[:, 3:], [weights(1, 0), weights(0, 1), [0, 0]], rtol=1e-6)


def test_it_says_nothing_of_its_own_label():
    """Texts of random words and labels: the sum of the weights tells no class, though counts with themselves do."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(2, 400, 12).astype(np.int32) for _ in range(600)]
    labels = rng.integers(0, 2, 600)
    evidence = Evidence.of(rows, labels, 400, 2)

    def right(own):
        sums = [
            evidence.row_of(row, label if own else None)[:, [2, 4]].sum()
            for row, label in zip(rows, labels.tolist(), strict=True)
        ]
        return np.mean((np.array(sums) > 0) == labels)

    assert right(own=True) < 0.56 and right(own=False) > 0.7


def test_saved_and_read(evidence):
    again = Evidence.from_json(json.loads(json.dumps(evidence.to_json())), 6, 2)
    for row in ROWS:
        np.testing.assert_array_equal(again.row_of(row), evidence.row_of(row))
    data = evidence.to_json()
    for damaged in (
        None,
        {},
        {**data, "words": data["words"][1:]},
        {**data, "pairs": [[1, 2]]},
        {**data, "pairs": "a"},
    ):
        with pytest.raises(
            UsageError, match=r"the codec is damaged; its evidence needs words, \[6, 2\] counts, and pairs"
        ):
            Evidence.from_json(damaged, 6, 2)


def test_batches(evidence):
    batch = batch_of([evidence.row_of(row) for row in ROWS[:2]], LABELS[:2], 4)
    np.testing.assert_array_equal(batch.tokens_BT, [[2, 3, 3, 0], [2, 4, 0, 0]])
    assert batch.evidence_BTF.shape == (2, 4, 4) and not batch.evidence_BTF[1, 2:].any()
    assert batch.tokens_BT.dtype == batch.label_B.dtype == batch.lengths_B.dtype == np.int32
    empty = evidence.row_of(np.zeros(0, np.int32))
    assert empty.shape == (0, 5) and batch_of([empty], LABELS[:1], 4).lengths_B.tolist() == [0]
