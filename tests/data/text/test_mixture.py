"""Rows drawn from several sources: their frequency, their content, and reproducibility."""

import numpy as np
import pytest

from xlstm_jax.data.text.mixture import (
    BATCHES_A_BLOCK,
    Draws,
    MixedTrainBatches,
    MixedValidationBatches,
    spawned,
    window_rows,
)
from xlstm_jax.data.text.packing import Packing
from xlstm_jax.data.text.sources import parse_mixture
from xlstm_jax.data.text.windows import validation_batches
from xlstm_jax.errors import UsageError

WEIGHTS = np.array([0.6, 0.3, 0.1])
TOKENS = [1000 * source + np.arange(count) for source, count in enumerate((300, 90, 40))]
STARTS = [np.arange(0, len(tokens), 4) for tokens in TOKENS]


def mixed(seed=0, batch_size=8, packed=False, **process):
    if packed:
        packings = [Packing(start, len(tokens), 7, seed) for tokens, start in zip(TOKENS, STARTS, strict=True)]
        rows = [lambda index, rank_B, p=p: p.shuffled(rank_B) for p in packings]
    else:
        rows = [window_rows(len(tokens), 7, spawned(seed, n)) for n, tokens in enumerate(TOKENS)]
    return MixedTrainBatches(TOKENS, rows, WEIGHTS, sequence_length=7, batch_size=batch_size, seed=seed, **process)


def test_probabilities():
    """Independent draws: the counts of 8,000 rows are within 4 standard deviations."""
    sources = np.concatenate([mixed()[index].source_B for index in range(1000)])
    for source, weight in enumerate(WEIGHTS):
        assert abs((sources == source).mean() - weight) < 4 * np.sqrt(weight * (1 - weight) / 8000)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_are_of_their_source(packed):
    for index in range(20):
        batch = mixed(packed=packed)[index]
        assert batch.source_B.dtype == np.int32 and batch.tokens_BT.dtype == np.int32
        for row, mask, source in zip(batch.tokens_BT, batch.mask_BT, batch.source_B, strict=True):
            assert (row[mask] // 1000 == source).all() and mask.any()
        np.testing.assert_array_equal(batch.targets_BT[batch.mask_BT], batch.tokens_BT[batch.mask_BT] + 1)
        assert batch.reset_BT[:, 0].all() and batch.reset_BT[:, 1:].any() == packed


@pytest.mark.parametrize("packed", [False, True])
def test_a_pure_function_of_seed_and_index(packed):
    """In any order, and for a late batch too."""
    one, other = mixed(packed=packed), mixed(packed=packed)
    for index in (BATCHES_A_BLOCK * 3 + 5, 2, BATCHES_A_BLOCK - 1, BATCHES_A_BLOCK, 0):
        for array, again in zip(one[index], other[index], strict=True):
            np.testing.assert_array_equal(array, again)
        other = mixed(packed=packed)
    assert (mixed(1, packed=packed)[0].tokens_BT != one[0].tokens_BT).any()


def test_ranks_count_each_sources_rows():
    draws = Draws(WEIGHTS, 5, seed=4)
    counts = np.zeros(3, int)
    for index in range(BATCHES_A_BLOCK + 10):
        for source, rank in zip(*draws(index), strict=True):
            assert rank == counts[source]
            counts[source] += 1
    far = Draws(WEIGHTS, 5, seed=4)(BATCHES_A_BLOCK + 9)
    np.testing.assert_array_equal(far, draws(BATCHES_A_BLOCK + 9))


def test_every_document_once_an_epoch_of_its_source():
    packing = Packing(STARTS[2], 40, 7)
    batches = mixed(packed=True)
    rows = [
        batch.targets_BT[row][batch.mask_BT[row]]
        for batch in map(batches.__getitem__, range(100))
        for row in np.flatnonzero(batch.source_B == 2)
    ]
    assert len(rows) >= 2 * len(packing)
    for first in (0, len(packing)):
        epoch = np.concatenate(rows[first : first + len(packing)])
        np.testing.assert_array_equal(np.sort(epoch), np.delete(TOKENS[2], STARTS[2]))


def test_processes_share_one_global_batch():
    for index in range(4):
        whole = mixed()[index]
        for part in range(2):
            rows = slice(2 * part, 2 * part + 2)
            for array, other in zip(mixed(rows=rows)[index], whole, strict=True):
                np.testing.assert_array_equal(array, other[rows])


@pytest.mark.parametrize("carry", [False, True])
def test_validation_is_each_source_in_turn(carry):
    parts = [validation_batches(tokens, sequence_length=7, batch_size=4, carry=carry) for tokens in TOKENS]
    batches = MixedValidationBatches(parts)
    assert len(batches) == sum(map(len, parts))
    targets = [batches[index].targets_BT[batches[index].mask_BT] for index in range(len(batches))]
    np.testing.assert_array_equal(np.sort(np.concatenate(targets)), np.concatenate([t[1:] for t in TOKENS]))
    for index in range(len(batches)):
        batch = batches[index]
        assert (batch.tokens_BT[batch.mask_BT] // 1000 == np.repeat(batch.source_B, batch.mask_BT.sum(1))).all()
    # A carry from the previous source is reset.
    assert all(batches[sum(map(len, parts[:n]))].reset_BT[:, 0].all() for n in range(3))


def test_too_short_a_source():
    with pytest.raises(UsageError, match="sequence_length=7 needs at least 8 training tokens"):
        window_rows(7, 7, 0)


def test_parse():
    one, two = parse_mixture(" tinyshakespeare:3, a/b:c.txt:1", "\n\n")
    assert (one.source, one.path, one.weight, one.separator) == ("tinyshakespeare", "", 0.75, "\n\n")
    assert (two.source, two.path, two.weight, two.name) == ("", "a/b:c.txt", 0.25, "b:c.txt")


@pytest.mark.parametrize("mixture", ["a", "a:", ":1", "a:0", "a:-1", "a:nan", "a:inf", "a:1,", "a:x", "stdlib:1,b"])
def test_mixtures_that_cannot_be(mixture):
    with pytest.raises(UsageError, match=r"is not allowed; write NAME:WEIGHT with a weight over 0") as caught:
        parse_mixture(mixture)
    assert "\n" not in str(caught.value) and repr(mixture) in str(caught.value)


def test_names_stand_once():
    with pytest.raises(UsageError, match=r"names 'c\.txt' twice"):
        parse_mixture("a/c.txt:1,b/c.txt:1")
