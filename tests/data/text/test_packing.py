"""Packed rows of tokens that are their own positions."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlstm_jax.data.batches import dataset
from xlstm_jax.data.text.packing import Packing, packed_train_batches, packed_validation_batches
from xlstm_jax.data.text.windows import validation_batches
from xlstm_jax.errors import UsageError

LENGTHS = [5, 1, 2, 13, 9, 3, 3, 2, 30, 4, 8, 1, 6]  # in tokens, including end tokens


def corpus(lengths=LENGTHS):
    start_D = np.cumsum([0, *lengths[:-1]])
    return 100 + np.arange(sum(lengths)), start_D


def targets_of(lengths=LENGTHS):
    """All tokens except the first of each document."""
    tokens, start_D = corpus(lengths)
    return np.sort(np.delete(tokens, start_D))


def training(lengths=LENGTHS, *, sequence_length=8, batch_size=3, seed=0, **process):
    return packed_train_batches(
        *corpus(lengths), sequence_length=sequence_length, batch_size=batch_size, seed=seed, **process
    )


def check_batch(batch, start_D, sequence_length):
    """Within a piece, inputs are consecutive and targets are one ahead. Each piece begins with a reset."""
    assert batch.tokens_BT.dtype == batch.targets_BT.dtype == np.int32
    np.testing.assert_array_equal(batch.targets_BT[batch.mask_BT], batch.tokens_BT[batch.mask_BT] + 1)
    assert not np.isin(batch.targets_BT[batch.mask_BT] - 100, start_D).any()
    assert not batch.tokens_BT[~batch.mask_BT].any() and not batch.reset_BT[~batch.mask_BT].any()
    for tokens, mask, reset in zip(batch.tokens_BT, batch.mask_BT, batch.reset_BT, strict=True):
        used = mask.sum()
        assert mask[:used].all()
        goes_on = np.diff(tokens[:used], prepend=-9) == 1
        starts = np.isin(tokens[:used] - 100, start_D)
        assert not (starts & ~reset[:used]).any() and not (goes_on & reset[:used] & ~starts & ~cut(tokens, used)).any()
        assert (reset[:used] | goes_on).all()


def cut(tokens, used):
    """Pieces of a long document may share a row."""
    return np.ones(used, bool) if used == len(tokens) else np.zeros(used, bool)


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40).filter(lambda lengths: max(lengths) > 1),
    sequence_length=st.integers(1, 12),
    batch_size=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_validation_covers_every_target_once(lengths, sequence_length, batch_size):
    tokens, start_D = corpus(lengths)
    shape = {"sequence_length": sequence_length, "batch_size": batch_size}
    packed = list(dataset(packed_validation_batches(tokens, start_D, **shape)))
    carried = list(dataset(validation_batches(tokens, carry=True, start_D=start_D, **shape)))
    for batches in (packed, carried):
        targets = np.concatenate([batch.targets_BT[batch.mask_BT] for batch in batches])
        np.testing.assert_array_equal(np.sort(targets), targets_of(lengths))
        assert all(array.shape == (batch_size, sequence_length) for batch in batches for array in batch)
    for batch in packed:
        check_batch(batch, start_D, sequence_length)


def test_every_document_once_an_epoch():
    """Each epoch has all rows once, in a new order, and continues across batches."""
    packing = Packing(corpus()[1], sum(LENGTHS), 8, seed=3)
    batches = [training(seed=3)[index] for index in range(len(packing))]
    rows = [tuple(row[mask]) for batch in batches for row, mask in zip(batch.targets_BT, batch.mask_BT, strict=True)]

    epochs = [tuple(rows[n : n + len(packing)]) for n in range(0, len(rows), len(packing))]
    assert len(epochs) == 3 and len(set(epochs)) == 3
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), targets_of())


def test_a_pure_function_of_seed_and_index():
    batches = [training()[index] for index in range(6)]
    for index in (5, 0, 3):
        for array, other in zip(training()[index], batches[index], strict=True):
            np.testing.assert_array_equal(array, other)
    other_seed = [training(seed=1)[index] for index in range(6)]
    assert any((a.tokens_BT != b.tokens_BT).any() for a, b in zip(batches, other_seed, strict=True))


def test_resume_is_exact():
    iterator = iter(dataset(training()))
    list(itertools.islice(iterator, 7))
    state = json.loads(json.dumps(iterator.get_state()))
    fresh = iter(dataset(training()))
    fresh.set_state(state)
    for array, other in zip(next(fresh), next(iterator), strict=True):
        np.testing.assert_array_equal(array, other)


def test_processes_share_one_global_batch():
    for index in range(4):
        whole = training(batch_size=4)[index]
        for part in range(2):
            own = training(batch_size=4, rows=slice(2 * part, 2 * part + 2))[index]
            for array, other in zip(own, whole, strict=True):
                np.testing.assert_array_equal(array, other[2 * part : 2 * part + 2])


def test_a_row_by_hand():
    """Documents of 4, 3, 2 and 2 tokens in rows of 4: targets 3, 2, 1, 1, of which 3 + 1 and 2 + 1 share a row."""
    tokens, start_D = corpus([4, 3, 2, 2])
    batch = packed_validation_batches(tokens, start_D, sequence_length=4, batch_size=2)[0]
    lengths = sorted(tuple(np.flatnonzero(row)) for row in batch.reset_BT)
    assert lengths == [(0, 2), (0, 3)]
    assert sorted(batch.mask_BT.sum(axis=1).tolist()) == [3, 4]
    first = batch.tokens_BT[np.argmax(batch.mask_BT.sum(axis=1))]
    assert first[:3].tolist() == [100, 101, 102] and first[3] in (107, 109)


def test_long_documents_are_cut():
    tokens, start_D = corpus([21])
    batches = list(dataset(packed_validation_batches(tokens, start_D, sequence_length=8, batch_size=1)))
    assert [batch.tokens_BT[0, 0] for batch in batches if batch.mask_BT.all()] == [100, 108] or [
        batch.tokens_BT[0, 0] for batch in batches if batch.mask_BT.all()
    ] == [108, 100]
    assert all(batch.reset_BT[0].tolist() == [True] + [False] * 7 for batch in batches)


def test_rows_are_filled_well():
    """With lengths like those of sentences, best-fit decreasing leaves almost no padding."""
    lengths = np.random.default_rng(0).integers(2, 60, 2000)
    packing = Packing(np.cumsum([0, *lengths[:-1]]), int(lengths.sum()), 64)
    assert (lengths - 1).sum() / (len(packing) * 64) > 0.99


def test_documents_with_nothing_to_predict():
    with pytest.raises(UsageError, match="no document has 2 tokens"):
        training([1, 1, 1])
    with pytest.raises(UsageError, match="seed=-1"):
        training(seed=-1)
