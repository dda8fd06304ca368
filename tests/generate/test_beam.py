"""Beam search: one beam is greedy, many beams are exhaustive, penalties by hand, texts that stop."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import VOCABULARY, example, small
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import beam_search, decode, prefill
from xlstm_jax.generate.state import state_of

pytestmark = pytest.mark.usefixtures("rolled")

PROMPT = np.array([[3, 1, 4], [1, 5, 9]], np.int32)
STOP, LENGTH = 2, 3


@pytest.fixture(scope="module")
def model():
    return example(small("ms")).model()


@pytest.fixture(scope="module")
def state(model):
    return prefill(model, PROMPT, prefill_chunk=8)


class Carry(NamedTuple):
    last_B: jax.Array
    attended_BS: jax.Array


class Chain(nnx.Module):
    """A Markov chain over A tokens that attends to position (token mod S) after each token."""

    def __init__(self, logits_AA, source: int):
        self.table, self.source = nnx.Param(jnp.asarray(logits_AA)), source
        self.vocab_size = len(logits_AA)

    def start(self, prompt_B, lengths_B):
        del lengths_B
        return self.step(prompt_B, Carry(prompt_B, jnp.zeros((len(prompt_B), self.source))))[::-1]

    def step(self, token_B, carry, live_B=None):
        seen_BS = carry.attended_BS + jax.nn.one_hot(token_B % self.source, self.source)
        after = Carry(token_B, seen_BS)
        if live_B is not None:
            live_B1 = live_B[:, None] > 0
            after = Carry(jnp.where(live_B > 0, token_B, carry.last_B), jnp.where(live_B1, seen_BS, carry.attended_BS))
        return self.table[...][after.last_B], after

    def coverage(self, carry):
        return 0.6 * carry.attended_BS, jnp.ones_like(carry.attended_BS, bool)


TABLE = 2 * np.random.default_rng(3).standard_normal((4, 4)).astype(np.float32)


def chain_state(model, first):
    return state_of(*model.start(jnp.asarray(first, jnp.int32), None))


def every_text(first, length_penalty, coverage_penalty):
    """All texts over TABLE that end with STOP or at LENGTH tokens, best first: (score, tokens)."""
    log_p_AA = np.log(np.exp(TABLE.astype(np.float64)) / np.exp(TABLE.astype(np.float64)).sum(axis=1, keepdims=True))
    texts = {}
    for tokens in itertools.product(range(4), repeat=LENGTH):
        tokens = tokens[: tokens.index(STOP) + 1] if STOP in tokens else tokens
        log_p = sum(log_p_AA[a, b] for a, b in itertools.pairwise((first, *tokens)))
        attended = np.zeros(3)
        for token in (first, *tokens[:-1]):  # the last token is not read
            attended[token % 3] += 0.6
        covered = np.log(np.clip(attended, np.finfo(np.float32).tiny, 1)).sum()
        texts[tokens] = log_p / ((5 + len(tokens)) / 6) ** length_penalty + coverage_penalty * covered
    return sorted(((score, tokens) for tokens, score in texts.items()), reverse=True)


@pytest.mark.parametrize("stop", [(), (0, 3)])
def test_one_beam_is_greedy(model, state, stop):
    wanted = decode(model, state, length=12, temperature=0.0, stop=stop, padding=7)
    got = beam_search(model, state, beams=1, length=12, stop=stop, padding=7, length_penalty=0.7)
    np.testing.assert_array_equal(got.tokens_BKT[:, 0], wanted.tokens_BT)
    np.testing.assert_array_equal(got.lengths_BK[:, 0], wanted.lengths_B)


def test_scores_are_those_of_the_texts(model, state):
    """Of a language model, read again at once; candidates are different and the best first."""
    got = beam_search(model, state, beams=5, length=6)
    made = example(small("ms"))
    for row in range(2):
        texts = np.asarray(got.tokens_BKT[row])
        assert len({tuple(text) for text in texts}) == 5
        whole = np.concatenate([np.tile(PROMPT[row], (5, 1)), texts], axis=1)
        logits, _ = made.unroll(made.params, whole[:, :-1])
        log_p = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits))[:, 2:], texts[..., None], axis=2).sum((1, 2))
        np.testing.assert_allclose(got.scores_BK[row], log_p, rtol=1e-5)
        assert (np.diff(log_p) < 0).all()


@pytest.mark.parametrize(("length_penalty", "coverage_penalty"), [(0.0, 0.0), (1.0, 0.0), (0.6, 0.2)])
def test_many_beams_find_the_best_texts_of_all(length_penalty, coverage_penalty):
    model, first = Chain(TABLE, source=3), [0, 1, 3]
    penalties = {"length_penalty": length_penalty, "coverage_penalty": coverage_penalty}
    got = beam_search(model, chain_state(model, first), beams=64, length=LENGTH, stop=(STOP,), padding=1, **penalties)
    for row, one in enumerate(first):
        wanted = every_text(one, length_penalty, coverage_penalty)
        np.testing.assert_allclose(got.scores_BK[row, : len(wanted)], [score for score, _ in wanted], rtol=1e-5)
        assert np.isneginf(got.scores_BK[row, len(wanted) :]).all()
        # Two texts with the same transitions have equal scores, so the order of texts is not compared.
        tokens, lengths = (np.asarray(a[row, : len(wanted)]) for a in got[:2])
        assert {tuple(text[:n].tolist()) for text, n in zip(tokens, lengths, strict=True)} == {t for _, t in wanted}
        assert (tokens[np.arange(LENGTH) >= lengths[:, None]] == 1).all()


def test_a_length_penalty_favours_long_texts():
    """And a few beams already find better texts than greedy decoding."""
    model = Chain(TABLE, source=3)
    state = chain_state(model, [0, 1, 2, 3])

    def best(**options):
        return beam_search(model, state, length=8, stop=(STOP,), **options)

    short, long = best(beams=4), best(beams=4, length_penalty=3.0)
    assert (long.lengths_BK[:, 0] >= short.lengths_BK[:, 0]).all() and long.lengths_BK.sum() > short.lengths_BK.sum()
    greedy = best(beams=1)
    assert (short.scores_BK[:, 0] >= greedy.scores_BK[:, 0] - 1e-6).all()


def test_rows_do_not_affect_each_other():
    model = Chain(TABLE, source=3)
    together = beam_search(model, chain_state(model, [0, 1, 3]), beams=3, length=5, stop=(STOP,))
    for row, one in enumerate([0, 1, 3]):
        alone = beam_search(model, chain_state(model, [one]), beams=3, length=5, stop=(STOP,))
        jax.tree.map(lambda a, b, row=row: np.testing.assert_allclose(a[row], b[0], rtol=1e-6), together, alone)


def test_errors(model, state):
    for options, message in (
        ({"beams": 0}, "beams"),
        ({"length": 0}, "length"),
        ({"stop": (VOCABULARY,)}, "token 11 is outside the vocabulary; stop and padding must be 0 to 10"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"coverage_penalty": 0.2}, "coverage_penalty 0.2 is for models with attention; leave it at 0"),
    ):
        with pytest.raises(UsageError, match=message):
            beam_search(model, state, **({"beams": 2, "length": 3} | options))
