"""A document's loss is the same by itself and packed with others, for every block."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.examples import VOCABULARY, example, small
from xlstm_jax.data.text.packing import packed_validation_batches
from xlstm_jax.models import BLOCKS

TIME, LIMIT = 12, 1e-5
LENGTHS = np.array([9, 4, 5, 12, 13, 2, 8, 6, 3])  # in tokens; 13 tokens are a full row
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, VOCABULARY, LENGTHS.sum(), np.int32)
STARTS = np.cumsum(LENGTHS) - LENGTHS


@pytest.fixture(scope="module")
def packed():
    """The documents packed into as few rows as possible, and for each target the index of its document."""
    positions, document = np.arange(LENGTHS.sum()), np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    batch, where = (
        packed_validation_batches(tokens, STARTS, sequence_length=TIME, batch_size=6)[0]
        for tokens in (TOKENS, positions)
    )
    assert batch.mask_BT.sum() == (LENGTHS - 1).sum() and (batch.reset_BT.sum(axis=1) > 1).any()
    return batch, document[where.targets_BT]


@pytest.fixture(scope="module")
def alone():
    """One row for each document, with padding after its end."""
    rows = np.zeros((2, len(LENGTHS), TIME), np.int32)
    mask = np.zeros((len(LENGTHS), TIME), bool)
    for number, (start, length) in enumerate(zip(STARTS, LENGTHS, strict=True)):
        document = TOKENS[start : start + length]
        rows[:, number, : length - 1] = document[:-1], document[1:]
        mask[number, : length - 1] = True
    return *rows, mask


def nats(made, tokens_BT, targets_BT, reset_BT=None):
    logits_BTA, _ = made.unroll(made.params, tokens_BT, None, reset_BT)
    return np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits_BTA, targets_BT), np.float64)


def losses(pattern, packed, alone):
    """(packed, alone), both [documents], in nats summed over each document."""
    made = example(small(pattern))
    (batch, document_BT), (tokens, targets, mask) = packed, alone
    apart = np.sum(nats(made, tokens, targets) * mask, axis=1)
    nats_BT = nats(made, batch.tokens_BT, batch.targets_BT, batch.reset_BT)
    together = np.bincount(document_BT[batch.mask_BT], nats_BT[batch.mask_BT], minlength=len(LENGTHS))
    return together, apart


ALL = pytest.param(",".join(BLOCKS.names()), marks=pytest.mark.slow)


@pytest.mark.parametrize("pattern", [*BLOCKS.names(), ALL])
def test_loss_alone_and_packed(pattern, packed, alone):
    together, apart = losses(pattern, packed, alone)
    worst = np.max(np.abs(together / apart - 1))
    assert worst <= LIMIT


@pytest.mark.parametrize("pattern", BLOCKS.names())
def test_it_is_the_resets_that_do_it(pattern, packed, alone):
    """Without resets, documents see one another, and the test above would fail."""
    batch, document_BT = packed
    together, apart = losses(pattern, (batch._replace(reset_BT=np.zeros_like(batch.reset_BT)), document_BT), alone)
    assert np.max(np.abs(together / apart - 1)) > 100 * LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("pattern", BLOCKS.names())
def test_gradient_of_one_document_in_a_row_of_others(pattern, packed):
    """The embeddings of the other documents get no gradient; all tokens of a row are distinct for this."""
    made = example(small(pattern))
    batch, document_BT = packed
    row = int(np.argmax(batch.reset_BT.sum(axis=1)))
    documents = document_BT[row][batch.mask_BT[row]]
    last = documents[-1]
    mask_T = batch.mask_BT[row] & (document_BT[row] == last)
    tokens_BT = np.where(mask_T, VOCABULARY - 1, np.arange(TIME) % (VOCABULARY - 1))[None].astype(np.int32)

    @jax.jit
    def loss(params):
        logits_BTA, _ = made.model(params).unroll(tokens_BT, None, reset=batch.reset_BT[row][None])
        return jnp.where(mask_T, logits_BTA[0, :, 0], 0).sum()

    gradient = np.asarray(jax.grad(loss)(made.params)["embedding"]["embedding"])
    assert gradient[VOCABULARY - 1].any() and not gradient[: VOCABULARY - 1].any()
