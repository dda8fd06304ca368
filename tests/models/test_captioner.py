"""The convolutional network against plain loops in float64; what a decoder is given of a picture; the baseline."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import OPTIONS, random_params
from xlstm_jax.errors import UsageError
from xlstm_jax.models.captioner import CaptionerConfig, MajorityCaption, PictureEncoder
from xlstm_jax.models.seq2seq import Seq2Seq

HEIGHT, WIDTH, FEATURES = 9, 6, 16
PICTURES = np.random.default_rng(0).random((2, HEIGHT, WIDTH, 3)).astype(np.float32)


@functools.cache
def encoder_of(halvings):
    """An encoder in which every parameter matters."""
    with jax.ensure_compile_time_eval():
        sizes = HEIGHT, WIDTH, 3, FEATURES, halvings
        graphdef, state = nnx.split(nnx.eval_shape(lambda: PictureEncoder(*sizes, rngs=nnx.Rngs(0))))
        return nnx.merge(graphdef, random_params(nnx.to_pure_dict(state)))


@functools.partial(jax.jit, static_argnums=0)
def encoded(halvings, pictures):
    return encoder_of(halvings)(pictures)[0]


def convolved(x_HWC, kernel, stride):
    """Zeros around the picture so that each output has a whole 3 x 3 window; one more at the end if it is odd."""
    sides = [-(-size // stride) for size in x_HWC.shape[:2]]
    missing = [max((out - 1) * stride + 3 - size, 0) for out, size in zip(sides, x_HWC.shape, strict=False)]
    x_HWC = np.pad(x_HWC, [(one // 2, one - one // 2) for one in missing] + [(0, 0)])
    windows = np.array([[x_HWC[i * stride :, j * stride :][:3, :3] for j in range(sides[1])] for i in range(sides[0])])
    return np.einsum("hwijc,ijcf->hwf", windows, kernel)


@pytest.mark.parametrize("halvings", [1, 2])
def test_by_hand(halvings):
    model, got = encoder_of(halvings), encoded(halvings, PICTURES)
    for picture, features in zip(PICTURES, got, strict=True):
        x = picture.astype(np.float64)
        for n, (conv, norm) in enumerate(zip(model.convolutions, model.norms, strict=True)):
            x = convolved(x, np.asarray(conv.kernel[...], np.float64), 2 if n < halvings else 1)
            mean, var, scale, shift = (
                np.asarray(a[...], np.float64) for a in (norm.running_mean, norm.running_var, norm.scale, norm.bias)
            )
            x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)
        wanted = x.reshape(-1, FEATURES) + np.asarray(model.position[...])
        assert wanted.shape[0] == -(-HEIGHT // 2**halvings) * -(-WIDTH // 2**halvings)
        np.testing.assert_allclose(features, wanted, rtol=1e-4, atol=1e-4)
    assert [conv.out_features for conv in model.convolutions] == [8] * halvings + [FEATURES]


def test_what_is_refused():
    with pytest.raises(UsageError, match=r"model\.halvings 3 is too many for pictures of 9 x 6; lower it"):
        PictureEncoder(HEIGHT, WIDTH, 3, FEATURES, 3, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="pictures has C = 1, not 3"):
        encoder_of(1)(PICTURES[..., :1])
    with pytest.raises(UsageError, match=r"model\.halvings 0 is not allowed"):
        CaptionerConfig(halvings=0)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "general"])
def test_what_the_decoder_sees(attention):
    """The largest of all places in each input; with attention, each place. All steps at once equal one by one."""
    config = CaptionerConfig(
        features=FEATURES, pattern="r", blocks=tuple(OPTIONS.values()), attention=attention, halvings=2
    )

    def make(rngs):
        return Seq2Seq(
            config, lambda rngs: PictureEncoder(HEIGHT, WIDTH, 3, FEATURES, 2, rngs=rngs), 9, begin=7, rngs=rngs
        )

    graphdef, state = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    params, tokens = random_params(nnx.to_pure_dict(state)), np.array([[7, 2, 3], [7, 4, 5]], np.int32)

    @jax.jit
    def run(params):
        model = nnx.merge(graphdef, params)
        carry = start = model.encode(PICTURES, None)
        logits, weights = model.unroll(tokens, start)
        one_by_one = []
        for token_B in tokens.T:
            step_BA, carry = model.step(jnp.asarray(token_B), carry)
            one_by_one.append(step_BA)
        memory_BSD, _ = model.encoder(PICTURES)
        summary_BD = jnp.tanh(model.bridge(memory_BSD.max(axis=1)))
        return start, summary_BD, logits, weights, jnp.stack(one_by_one, axis=1)

    start, summary_BD, logits, weights, one_by_one = run(params)
    np.testing.assert_allclose(start.summary_BD, summary_BD, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one_by_one, logits, rtol=1e-4, atol=1e-5)
    places = 0 if attention == "none" else 3 * 2
    assert weights.shape == (2, 3, places) and start.lengths_B.tolist() == [6, 6]
    if places:
        np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-5)


def test_one_caption_for_all():
    model = MajorityCaption(CaptionerConfig(kind="majority"), np.array([2, 3, 8]), 9)
    assert model.captions(2).tolist() == [[2, 3, 8]] * 2
    model.head[...] = jnp.arange(9.0)
    logits, weights = model.unroll(np.zeros((2, 4), np.int32), model.encode(PICTURES))
    assert weights.shape == (2, 4, 0) and (np.asarray(logits) == np.arange(9)).all() and logits.shape == (2, 4, 9)
    hash(nnx.graphdef(model))
