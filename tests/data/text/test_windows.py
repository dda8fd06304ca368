"""Batches of tokens that are their own positions."""

import itertools
import json

import numpy as np
import pytest

from xlstm_jax.data.batches import dataset
from xlstm_jax.data.text.windows import train_batches, validation_batches
from xlstm_jax.errors import UsageError

SAMPLINGS = ("windows", "stream")


def training(count=100, *, sampling="windows", sequence_length=6, batch_size=4, seed=0, **process):
    return dataset(
        train_batches(
            np.arange(count),
            sampling=sampling,
            sequence_length=sequence_length,
            batch_size=batch_size,
            seed=seed,
            **process,
        )
    )


def validating(tokens, **settings):
    return dataset(validation_batches(tokens, **settings))


def take(iterable, count):
    return list(itertools.islice(iterable, count))


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


@pytest.mark.parametrize("sampling", SAMPLINGS)
class TestTraining:
    def test_batch_form(self, sampling):
        for batch in take(training(sampling=sampling), 10):
            assert batch.tokens_BT.dtype == batch.targets_BT.dtype == np.int32
            assert batch.mask_BT.dtype == batch.reset_BT.dtype == np.bool_
            assert all(array.shape == (4, 6) for array in batch)
            assert batch.mask_BT.all()
            assert not batch.reset_BT[:, 1:].any()

    def test_rows_are_contiguous_and_targets_one_ahead(self, sampling):
        for batch in take(training(sampling=sampling), 10):
            np.testing.assert_array_equal(batch.tokens_BT, batch.tokens_BT[:, :1] + np.arange(6))
            np.testing.assert_array_equal(batch.targets_BT, batch.tokens_BT + 1)

    def test_same_again(self, sampling):
        assert_equal(take(training(sampling=sampling), 10), take(training(sampling=sampling), 10))

    def test_resume_is_exact(self, sampling):
        iterator = iter(training(sampling=sampling))
        take(iterator, 7)
        state = json.loads(json.dumps(iterator.get_state()))
        expected = take(iterator, 5)
        fresh = iter(training(sampling=sampling))
        fresh.set_state(state)
        assert_equal(take(fresh, 5), expected)
        iterator.set_state(state)
        assert_equal(take(iterator, 5), expected)

    @pytest.mark.parametrize("process_count", [2, 4])
    def test_processes_share_one_global_batch(self, sampling, process_count):
        whole = take(training(sampling=sampling), 8)
        size = 4 // process_count
        for first in range(0, 4, size):
            rows = slice(first, first + size)
            part = take(training(sampling=sampling, rows=rows), 8)
            assert_equal(part, [type(batch)(*(array[rows] for array in batch)) for batch in whole])

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
    def test_any_integer_dtype(self, sampling, dtype):
        tokens = np.full(50, np.iinfo(dtype).max if dtype != np.int64 else 7, dtype)
        batch = train_batches(tokens, sampling=sampling, sequence_length=5, batch_size=2, seed=0)[0]
        assert batch.tokens_BT.dtype == np.int32 and (batch.targets_BT == tokens[0]).all()

    def test_shortest_text(self, sampling):
        (batch,) = take(training(7, sampling=sampling, batch_size=1), 1)
        np.testing.assert_array_equal(batch.tokens_BT, [np.arange(6)])
        with pytest.raises(UsageError, match=r"sequence_length=6 needs at least 7 .* 6;"):
            training(6, sampling=sampling, batch_size=1)


def test_windows_cover_the_text_and_always_reset():
    batches = take(training(20), 100)
    offsets = np.concatenate([batch.tokens_BT[:, 0] for batch in batches])
    counts = np.bincount(offsets)
    assert len(counts) == 14  # the last window's last target is the last token
    assert counts.min() > 400 / 14 / 2 and counts.max() < 400 / 14 * 2
    assert all(batch.reset_BT[:, 0].all() for batch in batches)


def test_windows_differ_between_batches_rows_and_seeds():
    offsets = np.stack([batch.tokens_BT[:, 0] for batch in take(training(10_000), 20)])
    assert len(np.unique(offsets)) > 70
    other = np.stack([batch.tokens_BT[:, 0] for batch in take(training(10_000, seed=1), 20)])
    assert (offsets != other).mean() > 0.9


def test_stream_reads_each_part_in_order_and_resets_between_passes():
    # (60 - 1) // 3 = 19 targets per row, 3 whole sequences of 6 per pass.
    batches = take(training(60, sampling="stream", batch_size=3), 6)
    for index, batch in enumerate(batches):
        np.testing.assert_array_equal(batch.tokens_BT[:, 0], np.array([0, 19, 38]) + index % 3 * 6)
        assert (batch.reset_BT[:, 0] == (index % 3 == 0)).all()
    for r in range(3):
        row = np.concatenate([batch.tokens_BT[r] for batch in batches[:3]])
        np.testing.assert_array_equal(row, r * 19 + np.arange(18))


def test_stream_needs_a_sequence_for_each_row():
    assert take(training(25, sampling="stream"), 1)[0].targets_BT.max() == 24
    with pytest.raises(UsageError, match=r"4 rows of 6 steps needs at least 25 .* 24;"):
        training(24, sampling="stream")


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("sequence_length", [1, 5, 8])
@pytest.mark.parametrize("count", [2, 3, 5, 9, 33, 41, 100])
def test_validation_covers_every_target_once(count, sequence_length, batch_size, carry):
    # Tokens start at 1000, so that padding cannot look like one.
    tokens = 1000 + np.arange(count)
    batches = list(validating(tokens, sequence_length=sequence_length, batch_size=batch_size, carry=carry))
    for batch in batches:
        assert all(array.shape == (batch_size, sequence_length) for array in batch)
        assert batch.mask_BT.any()
        np.testing.assert_array_equal(batch.targets_BT[batch.mask_BT], batch.tokens_BT[batch.mask_BT] + 1)
        assert not batch.tokens_BT[~batch.mask_BT].any() and not batch.targets_BT[~batch.mask_BT].any()
    targets = np.concatenate([batch.targets_BT[batch.mask_BT] for batch in batches])
    np.testing.assert_array_equal(np.sort(targets), tokens[1:])


@pytest.mark.parametrize("count", [5, 33, 100])
def test_validation_with_carry_reads_on_and_resets_once(count):
    batches = list(validating(np.arange(count), sequence_length=5, batch_size=4, carry=True))
    tokens, mask, reset = (
        np.concatenate([getattr(batch, name) for batch in batches], axis=1)
        for name in ("tokens_BT", "mask_BT", "reset_BT")
    )
    assert reset[:, 0].all() and not reset[:, 1:].any()
    for row, row_mask in zip(tokens, mask, strict=True):
        used = row_mask.sum()
        assert row_mask[:used].all()  # padding only at the end
        np.testing.assert_array_equal(row[:used], row[0] + np.arange(used))


def test_validation_without_carry_reads_windows_in_order():
    batches = list(validating(np.arange(33), sequence_length=5, batch_size=4, carry=False))
    starts = np.concatenate([batch.tokens_BT[:, 0] for batch in batches])
    np.testing.assert_array_equal(starts, [0, 5, 10, 15, 20, 25, 30, 0])
    assert not batches[-1].mask_BT[-1].any()
    for batch in batches:
        assert batch.reset_BT[:, 0].all() and not batch.reset_BT[:, 1:].any()


@pytest.mark.parametrize("carry", [False, True])
def test_validation_processes_share_one_global_batch(carry):
    settings = {"sequence_length": 5, "batch_size": 4, "carry": carry}
    whole = list(validating(np.arange(33), **settings))
    for rows in (slice(2), slice(2, 4)):
        part = list(validating(np.arange(33), **settings, rows=rows))
        assert_equal(part, [type(batch)(*(array[rows] for array in batch)) for batch in whole])


def test_validation_needs_two_tokens():
    with pytest.raises(UsageError, match="at least 2 tokens, but there are 1;"):
        validation_batches(np.arange(1), sequence_length=5, batch_size=4, carry=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": "random"}, "sampling 'random' is not allowed; must be one of 'windows', 'stream'"),
        ({"sequence_length": 0}, "sequence_length=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_cannot_work(change, message):
    with pytest.raises(UsageError, match=message) as caught:
        training(**change)
    assert "\n" not in str(caught.value)
