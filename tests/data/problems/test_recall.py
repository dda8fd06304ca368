"""Associative recall: checks rows in plain Python, and the distribution of the queries' positions."""

import numpy as np
import pytest

from xlstm_jax.data.problems.recall import Recall
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.recall import AssociativeRecall, RecallConfig


@pytest.mark.parametrize("problem", [Recall(64, 4, 8192, 0.01), Recall(35, 8, 18, 0.01), Recall(2048, 256, 8192, 0.5)])
def test_rows_are_pairs_and_then_queries(problem):
    """Also if all keys and all slots are used."""
    batch, pairs = problem.rows(np.random.default_rng(0), 5), problem.pairs
    assert batch.inputs_BT.shape == (5, problem.length)
    assert batch.lengths_B is None
    for tokens, targets, mask in zip(*(array.tolist() for array in batch[:3]), strict=True):
        memory = dict(zip(tokens[0 : 2 * pairs : 2], tokens[1 : 2 * pairs : 2], strict=True))
        assert len(memory) == pairs
        assert all(1 <= key < problem.vocab_size // 2 <= value < problem.vocab_size for key, value in memory.items())
        queried = []
        for step in range(problem.length):
            is_query = step >= 2 * pairs and tokens[step] != 0
            assert mask[step] == is_query
            assert targets[step] == (memory[tokens[step]] if is_query else 0)
            if is_query:
                assert (step - 2 * pairs) % 2 == 0
                queried.append(tokens[step])
        assert sorted(queried) == sorted(memory)


def one_after_another(weights, order):
    """The probability of drawing these numbers in this order, by weight without replacement."""
    left, probability = dict(enumerate(weights)), 1.0
    for number in order:
        probability *= left[number] / sum(left.values())
        del left[number]
    return probability


def test_queries_thin_out_by_the_power_law():
    """The joint distribution of two keys' slots among four, for each pair of slots."""
    rows = 20_000
    problem = Recall(12, 2, 8, 0.01)
    batch = problem.rows(np.random.default_rng(1), rows)
    counts = {}
    for tokens in batch.inputs_BT.tolist():
        slots = tuple((tokens.index(tokens[place], 4) - 4) // 2 for place in (0, 2))
        counts[slots] = counts.get(slots, 0) + 1
    weights = [0.01 * x ** (0.01 - 1) for x in (1, 2, 3, 4)]
    for order in [(i, j) for i in range(4) for j in range(4) if i != j]:
        expected = one_after_another(weights, order)
        assert abs(counts[order] / rows - expected) < 5 * np.sqrt(expected / rows)


def test_keys_and_values_are_even():
    batch = Recall(16, 2, 16, 0.01).rows(np.random.default_rng(2), 7000)
    for places, first, count in (((0, 2), 1, 7), ((1, 3), 8, 8)):
        for place in places:
            found = np.bincount(batch.inputs_BT[:, place], minlength=16)[first : first + count]
            assert np.all(np.abs(found - 7000 / count) < 5 * np.sqrt(7000 / count))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 17}, r"data\.pairs 17 is not allowed; must be at most 16 in rows of 64 steps"),
        ({"pairs": 0}, r"data\.pairs 0 is not allowed"),
        ({"long_pairs": 65}, r"data\.long_pairs 65 is not allowed; must be at most 64 in rows of 256"),
        ({"vocab_size": 8}, r"data\.pairs 4 is not allowed; .* at most 3 .* a vocabulary of 8"),
        ({"vocab_size": 63}, r"data\.vocab_size 63 is not allowed; must be even"),
        ({"power": 0.0}, r"data\.power 0\.0 is not allowed; must be over 0"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        AssociativeRecall(RecallConfig(**options))
    assert "\n" not in str(caught.value)
