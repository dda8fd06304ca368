"""Batches of sentences: every row once an epoch, similar lengths together, padding of zeros."""

import collections

import jax
import numpy as np
import pytest

from xlstm_jax.data.sentences import EvaluationSentences, TrainSentences

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 40, 203)
# The first token of each row is its number, so that rows are told apart.
ROWS = [
    np.concatenate([[number + 1], RNG.integers(1, 9, length)]).astype(np.int32) for number, length in enumerate(LENGTHS)
]
LABELS = np.arange(len(ROWS)) % 3
ALL = slice(None)


def train(seed=0, part=ALL, batch_size=8):
    return TrainSentences(ROWS, LABELS, batch_size=batch_size, seed=seed, part=part, multiple_of=8)


def numbers(batch):
    return [int(first) - 1 for first in batch.tokens_BT[:, 0]]


def test_an_epoch_has_every_row_once_but_for_a_rest():
    batches, size = train(), len(ROWS) // 8
    for epoch in range(3):
        drawn = [number for index in range(size) for number in numbers(batches[epoch * size + index])]
        assert len(set(drawn)) == len(drawn) == 8 * size
    first, second = ([numbers(batches[epoch * size + index]) for index in range(size)] for epoch in (0, 1))
    assert first != second and [*map(numbers, (train(1)[0],))] != first[:1]


def test_rows_are_what_they_were():
    for index in range(30):
        batch = train()[index]
        assert batch.tokens_BT.shape[1] % 8 == 0 and batch.tokens_BT.dtype == batch.lengths_B.dtype == np.int32
        for row, number in enumerate(numbers(batch)):
            length = batch.lengths_B[row]
            np.testing.assert_array_equal(batch.tokens_BT[row, :length], ROWS[number])
            assert not batch.tokens_BT[row, length:].any() and batch.label_B[row] == LABELS[number]


def test_lengths_are_similar():
    """Padding is a small part of the batches; of random rows it would be nearly half."""
    batches = [train()[index] for index in range(25)]
    tokens = sum(batch.lengths_B.sum() for batch in batches)
    assert tokens > 0.8 * sum(batch.tokens_BT.size for batch in batches)
    assert len({batch.tokens_BT.shape for batch in batches}) <= 6


@pytest.mark.parametrize("batch_size", [7, 203, 300])
def test_evaluation_reads_each_row_once(batch_size):
    batches = EvaluationSentences(ROWS, LABELS, batch_size=batch_size, part=ALL, multiple_of=8)
    seen = collections.Counter()
    for index in range(len(batches)):
        batch = batches[index]
        assert len(batch.tokens_BT) == batch_size
        seen.update(number for number, length in zip(numbers(batch), batch.lengths_B, strict=True) if length)
    assert seen == collections.Counter(range(len(ROWS)))
    parts = [
        EvaluationSentences(ROWS, LABELS, batch_size=batch_size, part=part, multiple_of=8)[0]
        for part in (slice(3), slice(3, None))
    ]
    for *pair, whole in zip(*map(jax.tree.leaves, (*parts, batches[0])), strict=True):
        np.testing.assert_array_equal(np.concatenate(pair), whole)
