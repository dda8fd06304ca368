"""Sequence to sequence: the pass over all targets equals decoding step by step; padding, causality, beam search."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import OPTIONS, random_params
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import beam_search, decode
from xlstm_jax.generate.state import state_of
from xlstm_jax.models.encoders import StackEncoder
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.seq2seq import Seq2Seq, Seq2SeqConfig

pytestmark = pytest.mark.usefixtures("rolled")

SOURCE, TARGET, BEGIN, END = 7, 9, 7, 8
LENGTHS, TARGET_LENGTHS = np.array([5, 3], np.int32), np.array([4, 2], np.int32)
KINDS = {
    "none": {"attention": "none"},
    "carry": {"attention": "none", "directions": "forward"},
    "general": {},
    "dot": {"attention": "dot", "directions": "forward"},
    "concat": {"attention": "concat", "tie_embedding": True},
    "feeding": {"input_feeding": True},
    "bahdanau": {"attention": "bahdanau"},
}


def config_of(pattern="r", **options):
    return Seq2SeqConfig(
        features=8, pattern=pattern, blocks=tuple(OPTIONS.values()), **{"directions": "both"} | options
    )


def build(config, rngs):
    def encoder(rngs):
        embedding = Tokens(SOURCE, config.features, rngs=rngs)
        return StackEncoder(config.encoder, embedding, config.directions, rngs=rngs)

    return Seq2Seq(config, encoder, TARGET, begin=BEGIN, rngs=rngs)


@functools.cache
def model_of(config):
    """A model in which every parameter matters."""
    with jax.ensure_compile_time_eval():  # the first call may be inside of a compiled function
        graphdef, state = nnx.split(nnx.eval_shape(lambda: build(config, nnx.Rngs(0))))
        return nnx.merge(graphdef, random_params(nnx.to_pure_dict(state)))


def tokens(most, shape, seed=0):
    return np.random.default_rng(seed).integers(1, most, shape).astype(np.int32)


SOURCES, TARGETS = tokens(SOURCE, (2, 5)), tokens(BEGIN, (2, 4), seed=1)


@functools.partial(jax.jit, static_argnums=0)
def unrolled(config, sources, targets, lengths, target_lengths):
    model = model_of(config)
    return model.unroll(targets, model.encode(sources, lengths), lengths=target_lengths)


@functools.partial(jax.jit, static_argnums=0)
def stepped(config, sources, targets, lengths, target_lengths):
    """Logits and the attention so far after each token, a step at a time."""
    model = model_of(config)
    carry, logits, attended = model.encode(sources, lengths), [], []
    for time in range(targets.shape[1]):
        one, carry = model.step(targets[:, time], carry, (time < target_lengths).astype(jnp.int32))
        logits.append(one)
        attended.append(model.coverage(carry)[0])
    return jnp.stack(logits, axis=1), jnp.stack(attended, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_the_pass_over_all_targets(kind):
    pattern = "ms" if kind in ("general", "bahdanau") else "r"
    config = config_of(pattern, **KINDS[kind])
    args = SOURCES, TARGETS, LENGTHS, TARGET_LENGTHS
    (logits, weights), (one_by_one, attended) = unrolled(config, *args), stepped(config, *args)
    there = np.arange(4) < TARGET_LENGTHS[:, None]
    # The logits are about 1. The mLSTM divides by sums that cancel, and rounding differs between machines.
    of_rounding = 1e-4 if "m" in pattern else 1e-5
    np.testing.assert_allclose(np.asarray(one_by_one)[there], np.asarray(logits)[there], rtol=1e-4, atol=of_rounding)
    if config.attention == "none":
        assert weights.shape == (2, 4, 0)
        return
    np.testing.assert_allclose(np.asarray(weights).sum(axis=2)[there], 1, rtol=1e-5)
    assert not np.asarray(weights)[1, :, LENGTHS[1] :].any()
    total = np.cumsum(np.where(there[..., None], weights, 0), axis=1)
    np.testing.assert_allclose(attended, total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_later_tokens_have_no_effect(kind):
    config = config_of(**KINDS[kind])
    logits, _ = unrolled(config, SOURCES, TARGETS, LENGTHS, TARGET_LENGTHS)
    sources = np.where(np.arange(5) < LENGTHS[:, None], SOURCES, 6)
    targets = TARGETS.copy()
    targets[0, 2:], targets[1, 2:] = 5, 3
    other, _ = unrolled(config, sources, targets, LENGTHS, TARGET_LENGTHS)
    np.testing.assert_array_equal(other[:, :2], logits[:, :2])
    assert np.any(other[0, 2:] != logits[0, 2:])


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_matters(kind):
    config, changed = config_of(**KINDS[kind]), SOURCES.copy()
    changed[:, 0] = SOURCES[:, 0] % 6 + 1
    logits, other = (unrolled(config, sources, TARGETS, LENGTHS, TARGET_LENGTHS)[0] for sources in (SOURCES, changed))
    assert all(np.any(a[0] != b[0]) for a, b in zip(logits, other, strict=True))


def test_every_parameter_is_used():
    """And gets a gradient, with any attention."""
    for kind, options in KINDS.items():
        graphdef, params = nnx.split(model_of(config_of(**options)))

        def loss(params, graphdef=graphdef):
            model = nnx.merge(graphdef, params)
            logits, _ = model.unroll(TARGETS, model.encode(SOURCES, LENGTHS), lengths=TARGET_LENGTHS)
            return jnp.sum(jnp.sin(logits[0]))

        grads = nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))
        unused = [
            jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(grads) if not np.any(leaf)
        ]
        assert not unused, kind


@pytest.mark.parametrize("kind", ["carry", "general", "bahdanau"])
def test_decoding(kind):
    """Greedy decoding feeds each most likely token back; one beam finds the same."""
    model = model_of(config_of(**KINDS[kind]))
    state = state_of(*jax.jit(model.start)(SOURCES, LENGTHS))
    greedy = decode(model, state, length=6, temperature=0.0, stop=(END,))
    beams = beam_search(model, state, beams=1, length=6, stop=(END,))
    np.testing.assert_array_equal(beams.tokens_BKT[:, 0], greedy.tokens_BT)
    given = np.concatenate([np.full((2, 1), BEGIN), greedy.tokens_BT[:, :-1]], axis=1).astype(np.int32)
    logits, _ = unrolled(model.config, SOURCES, given, LENGTHS, np.asarray(greedy.lengths_B))
    there = np.arange(6) < np.asarray(greedy.lengths_B)[:, None]
    np.testing.assert_array_equal(np.argmax(logits, axis=2)[there], np.asarray(greedy.tokens_BT)[there])


def test_coverage_penalty():
    """The score is log p plus the penalty of the attention that was paid."""
    config = config_of()
    model = model_of(config)
    state = state_of(*jax.jit(model.start)(SOURCES, LENGTHS))
    found = beam_search(model, state, beams=4, length=4, coverage_penalty=0.5)
    for row in range(2):
        texts = np.asarray(found.tokens_BKT[row])
        given = np.concatenate([np.full((4, 1), BEGIN), texts[:, :-1]], axis=1).astype(np.int32)
        repeated = np.tile(SOURCES[row], (4, 1)), given, np.full(4, LENGTHS[row]), np.full(4, 4)
        logits, weights = unrolled(config, *(a.astype(np.int32) for a in repeated))
        log_p = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), texts[..., None], axis=2).sum((1, 2))
        seen = np.asarray(weights).sum(axis=1)[:, : LENGTHS[row]]
        np.testing.assert_allclose(found.scores_BK[row], log_p + 0.5 * np.log(np.minimum(seen, 1)).sum(1), rtol=1e-4)


def test_errors():
    with pytest.raises(UsageError, match=r"model\.coverage_penalty 0\.2 needs attention; set it to 0"):
        config_of(attention="none", coverage_penalty=0.2)
    with pytest.raises(UsageError, match="input_feeding is for attention dot, general or concat, not 'bahdanau'"):
        config_of(attention="bahdanau", input_feeding=True)


def test_a_tied_head_starts_with_small_outputs():
    """With embeddings of any size; the inputs have that size all the same."""
    config = Seq2SeqConfig(features=64, pattern="r", tie_embedding=True, embedding_std=1.0)
    model = build(config, nnx.Rngs(0))
    logits, _ = jax.jit(lambda: model.unroll(TARGETS, model.encode(SOURCES, LENGTHS)))()
    assert 0.02 < np.std(logits) < 1
    assert 0.9 < np.std(model._embedded(jnp.asarray(TARGETS))) < 1.1
