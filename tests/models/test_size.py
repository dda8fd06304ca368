"""Numbers of parameters, counted from shapes."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.models.examples import abstract
from xlstm_jax.models import ModelConfig
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.nn import Recurrent


def count(params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def layer(cell: str, x: int, h: int) -> int:
    return count(nnx.split(nnx.eval_shape(lambda: Recurrent(cell, x, h, rngs=nnx.Rngs(0))))[1])


def test_three_mlstm_blocks_are_991_000():
    """The model of configs/char_lm.py:mlstm on Tiny Shakespeare."""
    assert count(abstract(ModelConfig(vocab_size=65, features=224, pattern="mmm"))[1]) == 991_000


@pytest.mark.parametrize("features, heads", [(64, 4), (224, 2)])
def test_mlstm_block(features, heads):
    """Norm, W_up, convolution, q k v, gates, head norm, skip, W_down (Beck et al. 2024, figure 11)."""
    config = ModelConfig(features=features, pattern="m", blocks=(MLSTMBlockConfig(num_heads=heads),))
    inner = 2 * features
    parts = (
        features,
        features * 2 * inner,
        4 * inner + inner,
        3 * inner * 4,
        3 * inner * 2 * heads + 2 * heads,
        inner,
        inner,
        inner * features,
    )
    assert count(abstract(config)[1]["blocks"][0]) == sum(parts)


@pytest.mark.parametrize("features, inner", [(48, 64), (64, 128), (256, 384)])
def test_slstm_block(features, inner):
    """Norm, convolution, input and recurrent maps, biases, head norm, norm, feed-forward (figure 10).

    `inner` is 1.3 times the width, rounded up to a multiple of 64.
    """
    width = features // 4
    parts = (
        features,
        4 * features + features,
        2 * 4 * features * width,
        4 * features,
        features,
        features,
        features * 2 * inner + inner * features,
    )
    assert count(abstract(ModelConfig(features=features, pattern="s"))[1]["blocks"][0]) == sum(parts)


@pytest.mark.parametrize("x, h", [(7, 12), (256, 256)])
def test_recurrent_layers(x, h):
    """LSTM: 4 (h (x + h) + h) with one bias per gate; the GRU has three such maps, the simple RNN one."""
    lstm = 4 * (h * (x + h) + h)
    assert layer("lstm", x, h) == lstm
    assert 4 * layer("gru", x, h) == 3 * lstm
    assert 4 * layer("rnn", x, h) == lstm


def test_tied_embedding_saves_the_head():
    untied, tied = (
        abstract(ModelConfig(vocab_size=50, features=16, pattern="r", tie_embedding=tie))[1] for tie in (False, True)
    )
    assert count(untied) - count(tied) == 50 * 16
    assert "head" not in tied


def test_parameters_are_float32_at_any_compute_dtype():
    _, params = abstract(ModelConfig(vocab_size=50, features=16, pattern="msr", dtype="bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
