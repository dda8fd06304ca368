"""Sampling: the tokens that may be drawn, against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.generate import pick, restrict


def kept_by_hand(logits, top_k, top_p):
    """The kept indices: the k largest, then the fewest of them whose renormalized probabilities reach p."""
    order = sorted(range(len(logits)), key=lambda index: -logits[index])[: top_k or None]
    weights = np.exp(logits[order] - logits.max())
    total, kept = 0.0, set()
    for index, probability in zip(order, weights / weights.sum(), strict=True):
        kept.add(index)
        total += probability
        if total >= top_p:
            break
    return kept


@pytest.mark.parametrize("top_k", [0, 1, 3, 10, 99])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5, 1e-6])
def test_restrict(top_k, top_p):
    logits_BA = 2 * np.random.default_rng(0).standard_normal((20, 10)).astype(np.float32)
    got_BA = np.asarray(jax.jit(lambda a: restrict(a, top_k=top_k, top_p=top_p))(logits_BA))
    for got, logits in zip(got_BA, logits_BA, strict=True):
        kept = kept_by_hand(logits.astype(np.float64), top_k, top_p)
        assert set(np.flatnonzero(np.isfinite(got))) == kept
        assert all(got[index] == logits[index] for index in kept)


def test_restrict_keeps_ties():
    logits_BA = jnp.array([[1.0, 2.0, 2.0, 0.0]])
    np.testing.assert_array_equal(np.isfinite(restrict(logits_BA, top_k=1)), [[False, True, True, False]])
    np.testing.assert_array_equal(np.isfinite(restrict(logits_BA, top_p=0.1)), [[False, True, True, False]])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_draws_follow_the_tempered_distribution(temperature):
    logits_A = np.array([0.0, 1.0, 2.0, -1.0], np.float32)
    draws = pick(jax.random.key(0), jnp.tile(logits_A, (20000, 1)), temperature=temperature, top_k=3, top_p=1.0)
    wanted = np.exp(logits_A / temperature) * [1, 1, 1, 0]
    frequency = np.bincount(np.asarray(draws), minlength=4) / 20000
    np.testing.assert_allclose(frequency, wanted / wanted.sum(), atol=0.015)
    assert frequency[3] == 0


def test_nucleus_is_of_the_tempered_distribution():
    """At a high temperature, the same p keeps more tokens."""
    logits_BA = jnp.tile(jnp.array([3.0, 2.0, 0.0, -3.0]), (2000, 1))
    cold, hot = (
        set(np.asarray(pick(jax.random.key(0), logits_BA, temperature=t, top_k=0, top_p=0.6)).tolist())
        for t in (0.5, 5.0)
    )
    assert cold == {0} and hot == {0, 1}
