"""Sampling: what may be drawn, against brute force, and that generating is the model's own `unroll`, fed back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import VOCABULARY, example, small
from xlstm_jax import generate as module
from xlstm_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import generate, pick, restrict, sample_text

pytestmark = pytest.mark.usefixtures("rolled")

PROMPT = np.array([[3, 1, 4], [1, 5, 9]], np.int32)


@pytest.fixture(scope="module")
def model():
    return example(small("ms")).model()


def kept_by_hand(logits, top_k, top_p):
    """Indices that stay: the k largest, then of those the fewest whose renormalised probabilities reach p."""
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
    """At a high temperature the same p needs more tokens."""
    logits_BA = jnp.tile(jnp.array([3.0, 2.0, 0.0, -3.0]), (2000, 1))
    cold, hot = (
        set(np.asarray(pick(jax.random.key(0), logits_BA, temperature=t, top_k=0, top_p=0.6)).tolist())
        for t in (0.5, 5.0)
    )
    assert cold == {0} and hot == {0, 1}


def test_greedy_is_the_most_likely_token_of_a_full_unroll(model):
    """Every token is the argmax after the prompt and all tokens before it, read at once from an empty carry."""
    tokens_BT = np.asarray(generate(model, jnp.asarray(PROMPT), length=12, temperature=0.0))
    assert tokens_BT.shape == (2, 12) and tokens_BT.dtype == np.int32
    whole = np.concatenate([PROMPT, tokens_BT], axis=1)
    made = example(small("ms"))
    logits_BTA, _ = made.unroll(made.params, whole[:, :-1])
    np.testing.assert_array_equal(tokens_BT, np.argmax(logits_BTA, axis=-1)[:, PROMPT.shape[1] - 1 :])
    assert len(set(tokens_BT.ravel())) > 2


def test_seeds_and_rows(model):
    same_prompts = jnp.asarray(PROMPT[[0, 0]])
    first, again, other = (np.asarray(generate(model, same_prompts, length=12, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()  # rows are drawn apart
    assert first.min() >= 0 and first.max() < VOCABULARY


def test_longer_text_begins_in_the_same_way_when_greedy(model):
    short, long = (np.asarray(generate(model, jnp.asarray(PROMPT), length=n, temperature=0.0)) for n in (1, 12))
    np.testing.assert_array_equal(short, long[:, :1])


def test_compiled_once_for_repeated_calls(model):
    """Other prompts of the same length, other seeds and other weights need no new program."""
    generate(model, jnp.asarray(PROMPT), length=12)
    before = module._generate._cache_size()
    made = example(small("ms"))
    other = made.model(jax.tree.map(lambda leaf: leaf * 0.5, made.params))
    generate(model, jnp.asarray(PROMPT), length=12)
    generate(model, jnp.asarray(PROMPT[::-1]), length=12, seed=7)
    generate(other, jnp.asarray(PROMPT), length=12)
    assert module._generate._cache_size() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length 0"),
        ({"length": -3}, "length -3"),
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
    ],
)
def test_options_out_of_range(model, options, message):
    with pytest.raises(UsageError, match=f"{message}.*: length is at least 1, temperature and top_k at least 0"):
        generate(model, jnp.asarray(PROMPT), **{"length": 5, **options})


def test_text(model):
    tokenizer = CharTokenizer("abcdefghijk")
    text = sample_text(model, tokenizer, "dbe", length=12, temperature=0.0)
    tokens = generate(model, jnp.asarray(PROMPT[:1]), length=12, temperature=0.0)
    assert text == "dbe" + tokenizer.decode(np.asarray(tokens[0]))
    with pytest.raises(UsageError, match="the prompt is empty"):
        sample_text(model, tokenizer, "", length=5)
    with pytest.raises(UsageError, match="outside the vocabulary: 'x'"):
        sample_text(model, tokenizer, "abx", length=5)


def test_prompt_of_several_bytes_a_character():
    """Byte tokens are joined before they are decoded, so that a character may be finished by the model."""
    made = example(small("r", vocab_size=256))
    text = sample_text(made.model(), ByteTokenizer(), "é", length=3, temperature=0.0)
    assert text.startswith("é")
