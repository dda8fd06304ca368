"""The adding problem: checks rows in plain Python, and the distribution of the marks' positions."""

import numpy as np
import pytest

from xlstm_jax.data.problems.adding import Adding
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.adding import AddingProblem


def rows(length, count, seed=0):
    """Returns (numbers, markers, target) of each row, cut at its last step."""
    batch = Adding(length).rows(np.random.default_rng(seed), count)
    assert batch.inputs_BT.dtype == batch.targets_BT.dtype == np.float32
    for tokens, targets, mask, steps in zip(*batch, strict=True):
        (last,) = np.flatnonzero(mask)
        assert not tokens[last + 1 :].any() and np.count_nonzero(targets) == 1
        assert steps == last + 1
        yield tokens[: last + 1, 0].tolist(), tokens[: last + 1, 1].tolist(), float(targets[last])


@pytest.mark.parametrize("length", [12, 25, 110])
def test_the_target_is_the_marked_sum(length):
    for numbers, markers, target in rows(length, 200):
        assert length - length // 11 <= len(numbers) <= length
        assert all(-1 <= number <= 1 for number in numbers)
        assert markers[0] == markers[-1] == -1 and set(markers[1:-1]) == {0, 1}
        marked = [step for step, marker in enumerate(markers) if marker == 1]
        assert len(marked) in (1, 2) and (len(marked) == 1 or marked[0] < 10)
        total = 0.0
        for step in marked:
            total += numbers[step]
        assert target == pytest.approx(0.5 + total / 4, abs=1e-6)


def test_lengths_and_places_are_even():
    """For T = 20: 20 to 22 steps; one of the first 10 is marked, then one of the first 9 that remain."""
    expected = {}
    for first in range(10):
        unmarked = [step for step in range(20) if step != first][:9]
        for second in unmarked:
            pair = tuple(sorted({first, second} - {0}))
            expected[pair] = expected.get(pair, 0) + 1 / 90
    count = 20_000
    found, lengths = {}, {}
    for numbers, markers, _ in rows(22, count):
        pair = tuple(step for step, marker in enumerate(markers) if marker == 1)
        found[pair] = found.get(pair, 0) + 1 / count
        lengths[len(numbers)] = lengths.get(len(numbers), 0) + 1 / count
    assert found.keys() == expected.keys() and lengths.keys() == {20, 21, 22}
    for pair, share in expected.items():
        assert abs(found[pair] - share) < 5 * np.sqrt(share / count)
    assert all(abs(share - 1 / 3) < 0.02 for share in lengths.values())


@pytest.mark.parametrize("length", [12, 110])
def test_chance_is_that_of_the_drawn_rows(length):
    """The loss of answering 0, and how often 0.5 is correct."""
    task = AddingProblem(AddingProblem.Config(sequence_length=length, long_length=0))
    targets = np.array([target for *_, target in rows(length, 40_000)])
    assert task.loss_at_chance == pytest.approx(np.mean(targets**2), rel=0.01)
    assert 1 / task.choices == pytest.approx(np.mean(np.abs(targets - 0.5) < 0.04), rel=0.05)


@pytest.mark.parametrize("name", ["sequence_length", "long_length"])
def test_rows_too_short(name):
    with pytest.raises(UsageError, match=rf"data\.{name} 11 is not allowed; .* at least 12") as caught:
        AddingProblem(AddingProblem.Config(**{name: 11}))
    assert "\n" not in str(caught.value)
