"""The bidirectional language model: against NumPy in float64, what each direction sees, and its states as an input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.bilm import BiLM, BiLMConfig, Enriched, EnrichedInput
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.words import Words

SIZES, FEATURES = (9, 7, 3), 8  # words, letters, numbers of spelling
LENGTHS = np.array([5, 3, 0], np.int32)
BLOCKS = ("r", "ms", "transformer")


def rows(seed=0, time=6):
    """[3, T, 1 + 4 + 3]: token, letters, spelling."""
    rng = np.random.default_rng(seed)
    parts = [rng.integers(2, 9, (3, time, 1)), rng.integers(1, 7, (3, time, 4)), rng.integers(0, 2, (3, time, 3))]
    return np.concatenate(parts, axis=-1).astype(np.int32)


def made(pattern="r", **options):
    config = BiLMConfig(features=FEATURES, pattern=pattern, letter_features=4, **options)
    return BiLM(config, *SIZES, unknown=1, rngs=nnx.Rngs(0))


def nats(model, words_BTW, lengths=LENGTHS):
    return nnx.jit(lambda model, words: model.nats(Words.of(words, SIZES[2]), lengths))(model, words_BTW)


def layers(model, words_BTW, lengths=LENGTHS):
    return nnx.jit(lambda model, words: model.reader.layers(Words.of(words, SIZES[2]), lengths))(model, words_BTW)


def test_probabilities_by_hand():
    """Of a model whose stacks do nothing but normalise: -log softmax(W norm(x)) of the next word, in either order."""
    model, words_BTW = made(), rows()
    model.reader.forward.blocks, model.reader.backward.blocks = nnx.List(), nnx.List()
    x_BTD = np.asarray(model.reader.input(Words.of(jnp.asarray(words_BTW), SIZES[2]), jnp.asarray(LENGTHS)), np.float64)
    kernel_DA = np.asarray(model.head.kernel[...], np.float64)
    got = [np.asarray(one) for one in model.nats(Words.of(jnp.asarray(words_BTW), SIZES[2]), jnp.asarray(LENGTHS))]
    for direction, order in enumerate((1, -1)):
        for row, length in enumerate(LENGTHS):
            start_1D = np.asarray(model.reader.start[...], np.float64)[direction : direction + 1]
            h_SD = np.concatenate([start_1D, x_BTD[row, :length][::order]])
            h_SD = h_SD - h_SD.mean(-1, keepdims=True)
            h_SD /= np.sqrt((h_SD**2).mean(-1, keepdims=True) + 1e-5)
            logits_SA = h_SD @ kernel_DA
            targets_S = [*words_BTW[row, :length, 0][::order], 0]
            wanted_S = np.log(np.exp(logits_SA).sum(-1)) - logits_SA[np.arange(length + 1), targets_S]
            steps = length + 1 if length else 0
            np.testing.assert_allclose(got[direction][row, :steps], wanted_S[:steps], rtol=1e-4)
            assert not got[direction][row, steps:].any()


@pytest.mark.parametrize("pattern", BLOCKS)
def test_neither_direction_sees_what_it_predicts(pattern):
    """With another word at t, states before it (forward) or after it (backward) stay, and all others change."""
    model, words_BTW, place = made(pattern), rows(), 2
    other_BTW = words_BTW.copy()
    other_BTW[:, place] = rows(seed=1)[:, place]
    other_BTW[:, place, 0] = words_BTW[:, place, 0] % 7 + 2
    for one, two in zip(layers(model, words_BTW), layers(model, other_BTW), strict=True):
        moved_BTD = np.abs(np.asarray(one) - np.asarray(two))[:1, :5] > 1e-6
        forward_T, backward_T = (part[0].any(axis=-1) for part in np.split(moved_BTD, 2, axis=-1))
        assert not forward_T[:place].any() and not backward_T[place + 1 :].any()
        assert forward_T[place] and backward_T[place]
    assert forward_T[place:].all() and backward_T[: place + 1].all()
    before, after = nats(model, words_BTW), nats(model, other_BTW)
    for order, (one, two) in enumerate(zip(before, after, strict=True)):
        read = place if order == 0 else 4 - place  # words of the first row that are read before it
        np.testing.assert_allclose(one[0, :read], two[0, :read], rtol=1e-5)


@pytest.mark.parametrize("pattern", BLOCKS)
def test_padding_and_the_last_layer(pattern):
    """Padding has no effect, and the last of all layers is what the softmax reads."""
    model, words_BTW = made(pattern), rows()
    spoilt_BTW = words_BTW.copy()
    spoilt_BTW[1, 3:] = rows(seed=1)[1, 3:]
    for one, two in zip(nats(model, words_BTW), nats(model, spoilt_BTW), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    found = layers(model, words_BTW)
    assert len(found) == len(model.config.layers) + 1
    forward_BSD, backward_BSD = nnx.jit(lambda model, words: model.reader(Words.of(words, SIZES[2]), LENGTHS))(
        model, words_BTW
    )
    np.testing.assert_allclose(found[-1][0, :5, :FEATURES], forward_BSD[0, 1:6], atol=1e-5)
    np.testing.assert_allclose(found[-1][0, :5, FEATURES:], backward_BSD[0, 1:6][::-1], atol=1e-5)


def test_states_as_an_input():
    """x = own + W gamma sum_j softmax(s)_j norm(h_j); no gradient reaches the language model."""
    rngs, words_BTW = nnx.Rngs(0), rows()
    config = StackConfig(features=12)
    model = EnrichedInput(Tokens(9, 12, rngs=rngs), made("rr").reader, config, rngs=rngs)
    model.scores_J[...], model.gamma[...] = jnp.array([0.0, 1.0, -1.0]), jnp.array(2.0)
    inputs = Enriched(words_BTW[..., 0], words_BTW)
    x_BTD = nnx.jit(lambda model, inputs: model(inputs, LENGTHS))(model, inputs)
    weight_J = np.exp([0.0, 1.0, -1.0])
    mixed = 0
    read = nnx.jit(lambda reader, words: reader.layers(Words.of(words, SIZES[2]), LENGTHS))
    for weight, h_BTD in zip(2 * weight_J / weight_J.sum(), read(model.bilm, words_BTW), strict=True):
        h_BTD = np.asarray(h_BTD, np.float64)
        h_BTD = h_BTD - h_BTD.mean(-1, keepdims=True)
        mixed = mixed + weight * h_BTD / np.sqrt((h_BTD**2).mean(-1, keepdims=True) + 1e-6)
    wanted = np.asarray(model.own.embedding[...])[words_BTW[..., 0]] + mixed @ np.asarray(model.map.kernel[...])
    np.testing.assert_allclose(np.asarray(x_BTD)[0, :5], wanted[0, :5], rtol=1e-4, atol=1e-4)
    graphdef, state = nnx.split(model)
    grads = jax.jit(jax.grad(lambda s: jnp.sum(jnp.square(nnx.merge(graphdef, s)(inputs, LENGTHS)))))(state)
    grads = nnx.to_pure_dict(grads)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["bilm"]))
    assert all(np.any(grads[name]) for name in ("scores_J", "gamma"))
