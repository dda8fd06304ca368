"""One answer per sequence: what padding and dropout do, and the baseline."""

import jax
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.classifier import Prior, TextClassifier, TextClassifierConfig
from xlstm_jax.models.inputs import TokensAndFeatures

TOKENS = np.random.default_rng(0).integers(1, 11, (3, 7), np.int32)
LENGTHS = np.array([7, 4, 1], np.int32)


classified = nnx.jit(lambda model, *args: model.classify(*args))


def made(**options):
    config = TextClassifierConfig(features=16, **{"pattern": "rr", **options})
    return TextClassifier(config, 11, 3, unknown=1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("directions", ["forward", "alternate", "both"])
@pytest.mark.parametrize("pooling", ["mean", "ends"])
def test_padding_changes_nothing(directions, pooling):
    """A row gives what it gives alone, whatever is in the padding."""
    model = made(directions=directions, pooling=pooling)
    together = np.asarray(classified(model, TOKENS, LENGTHS))
    other = np.where(np.arange(7) < LENGTHS[:, None], TOKENS, 5)
    np.testing.assert_allclose(classified(model, other, LENGTHS), together, rtol=1e-5, atol=1e-6)
    alone = classified(model, TOKENS[1:2, :4], LENGTHS[1:2])
    np.testing.assert_allclose(alone[0], together[1], rtol=1e-4, atol=1e-5)


def test_dropout_needs_a_key():
    model = made(dropout=0.5, head_dropout=0.5, token_dropout=0.5)
    still, again = (np.asarray(classified(model, TOKENS, LENGTHS)) for _ in range(2))
    np.testing.assert_array_equal(still, again)
    first, same, other = (np.asarray(classified(model, TOKENS, LENGTHS, jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-2 and np.abs(first - still).max() > 1e-2


def test_dropped_tokens_are_the_unknown_one():
    """With nearly all of them dropped, what the words were makes no difference."""
    model = made(token_dropout=0.999)
    key = jax.random.key(3)
    unknown = classified(model, np.ones_like(TOKENS), LENGTHS)
    np.testing.assert_allclose(classified(model, TOKENS, LENGTHS, key), unknown, rtol=1e-5)


def test_numbers_beside_the_tokens():
    """They count as far as the sequence goes; dropped tokens keep them."""
    config = TextClassifierConfig(features=16, pattern="rr", token_dropout=0.5)
    model = TextClassifier(config, 11, 3, unknown=1, numbers=2, rngs=nnx.Rngs(0))
    u_BTF = np.random.default_rng(1).standard_normal((3, 7, 2)).astype(np.float32)
    first = np.asarray(classified(model, TokensAndFeatures(TOKENS, u_BTF), LENGTHS))
    inside_BT1 = (np.arange(7) < LENGTHS[:, None])[..., None]
    padded = TokensAndFeatures(TOKENS, np.where(inside_BT1, u_BTF, np.float32(9)))
    np.testing.assert_allclose(classified(model, padded, LENGTHS), first, rtol=1e-5, atol=1e-6)
    assert np.abs(first - classified(model, TokensAndFeatures(TOKENS, 2 * u_BTF), LENGTHS)).max() > 1e-2
    assert classified(model, padded, LENGTHS, jax.random.key(0)).shape == (3, 3)


def test_the_baseline_ignores_its_input():
    model = Prior(3)
    logits = model.classify(TOKENS, LENGTHS)
    assert logits.shape == (3, 3) and not np.asarray(logits).any()
