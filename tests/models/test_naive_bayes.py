"""Naive Bayes: counts and logits by hand, and as scikit-learn has them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.naive_bayes import NaiveBayes, pair_buckets

VOCABULARY, BUCKETS = 12, 2**16


def texts(seed, count):
    rng = np.random.default_rng(seed)
    lengths_B = rng.integers(1, 9, count).astype(np.int32)
    tokens_BT = rng.integers(1, VOCABULARY, (count, 9)).astype(np.int32)
    label_B = rng.integers(0, 3, count).astype(np.int32)
    tokens_BT[:, 0] = np.where(rng.random(count) < 0.5, label_B + 1, tokens_BT[:, 0])
    return np.where(np.arange(9) < lengths_B[:, None], tokens_BT, 5), label_B, lengths_B


def fitted(batches, rows):
    """One step of gradient descent with a learning rate of 1 on each batch's mean."""
    model = NaiveBayes(VOCABULARY, 3, BUCKETS)
    graphdef, params = nnx.split(model)

    @jax.jit
    def step(params, batch):
        def loss(params):
            nats_B = jnp.ones(rows, jnp.float32)
            return jnp.sum(nnx.merge(graphdef, params).learned(nats_B, *batch, rows=rows)) / jnp.float32(rows)

        value, gradients = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda p, g: p - g, params, gradients)

    for batch in batches:
        value, params = step(params, batch)
        assert value == 1  # the gradient counts, the value is the loss that was given
    return nnx.merge(graphdef, params)


classified = nnx.jit(lambda model, tokens, lengths: model.classify(tokens, lengths))


def test_gradients_count():
    """What is in the padding, and rows that only fill up a batch, are not counted."""
    batches = [texts(seed, 16) for seed in range(3)]
    batches[2][2][-4:] = 0
    model, wanted = fitted(batches, 16), np.zeros((VOCABULARY, 3))
    pairs = np.zeros((BUCKETS, 3))
    for tokens_BT, label_B, lengths_B in batches:
        buckets_BT = np.asarray(pair_buckets(tokens_BT, BUCKETS))
        for tokens, buckets, label, length in zip(tokens_BT, buckets_BT, label_B, lengths_B, strict=True):
            np.add.at(wanted[:, label], tokens[:length], 1)
            np.add.at(pairs[:, label], buckets[:length], 1)
    np.testing.assert_array_equal(model.tokens[...], wanted)
    np.testing.assert_array_equal(model.pairs[...], pairs)
    assert model.texts[...].sum() == 44


def test_as_scikit_learn():
    """On texts with words that training does not have; a pair with the beginning is a pair."""
    bayes = pytest.importorskip("sklearn.naive_bayes", reason="scikit-learn is not installed")
    extraction = pytest.importorskip("sklearn.feature_extraction.text")

    def features(text):
        return [*map(str, text), *(f"{a} {b}" for a, b in zip([0, *text], text, strict=False))]

    def rows(batch):
        return [tokens[:length].tolist() for tokens, _, length in zip(*batch, strict=True)]

    train, other = [texts(seed, 32) for seed in range(3)], texts(9, 32)
    vectors = extraction.CountVectorizer(analyzer=features)
    counts = vectors.fit_transform([row for batch in train for row in rows(batch)])
    labels = np.concatenate([batch[1] for batch in train])
    prior = (np.bincount(labels) + 1) / (len(labels) + 3)
    theirs = bayes.MultinomialNB(class_prior=prior).fit(counts, labels)
    wanted = theirs.predict_log_proba(vectors.transform(rows(other)))
    logits = classified(fitted(train, 32), other[0], other[2])
    np.testing.assert_allclose(jax.nn.log_softmax(logits), wanted, atol=2e-4)


def test_nothing_is_known_before_training():
    tokens_BT, _, lengths_B = texts(0, 4)
    assert not np.asarray(classified(NaiveBayes(VOCABULARY, 3, BUCKETS), tokens_BT, lengths_B)).any()


def test_pairs_have_an_order_and_few_collide():
    tokens_BT = np.array(np.meshgrid(np.arange(1, 301), np.arange(1, 301)), np.int32).reshape(2, -1).T
    buckets_B = np.asarray(jax.jit(pair_buckets, static_argnums=1)(tokens_BT, 2**20))[:, 1]
    assert buckets_B.min() >= 0 and buckets_B.max() < 2**20
    expected = 2**20 * (1 - (1 - 2.0**-20) ** 90_000)  # of a random function
    assert len(set(buckets_B.tolist())) == pytest.approx(expected, rel=0.02)
