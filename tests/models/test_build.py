"""Configs that cannot work, and options of the model outside its blocks."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import MLSTM, VOCABULARY, error, example, small
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, LanguageModel, Stack, build_model
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 7), np.int32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pattern": "m?s"},
            "unknown block '.'; known: mamba2 .d., griffin .g., mlstm .m., ",
        ),
        ({"pattern": ""}, "model.pattern '' has 0 blocks"),
        ({"pattern": "ms", "num_blocks": 4}, "num_blocks 4 does not fit model.pattern 'ms', which has 2 blocks"),
        ({"pattern": "xLSTM[7:1]", "num_blocks": 12}, "num_blocks 12 must be a multiple of the 8 blocks of xLSTM"),
        ({"pattern": "x", "features": 20, "xlstm": XLSTMBlockConfig(num_heads=3)}, "does not fit xlstm.num_heads 3"),
        ({"features": 18, "pattern": "s"}, "model.features 18 does not fit slstm.num_heads 4"),
        ({"mlstm": dataclasses.replace(MLSTM, num_heads=5)}, "does not fit mlstm.num_heads 5"),
        ({"mlstm": dataclasses.replace(MLSTM, qkv_block_size=5)}, "block_size 5"),
        ({"pattern": "r", "recurrent": RecurrentBlockConfig("lstn")}, "unknown cell 'lstn'; known: .*lstm"),
        ({"pattern": "r", "features": 18, "recurrent": RecurrentBlockConfig("mlstm")}, "features 18 .*num_heads 4"),
        ({"pattern": "r", "features": 18, "recurrent": RecurrentBlockConfig("slstm")}, "features 18 .*num_heads 4"),
        ({"pattern": "x", "xlstm": XLSTMBlockConfig(num_heads=4, v_factor=1.125)}, "does not fit xlstm.num_heads 4"),
    ],
)
def test_configs_that_cannot_work(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_model(small(**{"pattern": "m", **changes}))
    assert "\n" not in str(caught.value)
    for made in (LanguageModel, functools.partial(Stack, directions="both")):
        with pytest.raises(UsageError, match=message):
            made(small(**{"pattern": "m", **changes}), rngs=nnx.Rngs(0))


def test_float64_needs_x64_mode():
    """Otherwise it would become float32 with only a warning."""
    config = small("r", dtype="float64")
    for made in (LanguageModel, functools.partial(Stack, directions="both")):
        with pytest.raises(UsageError, match=r"dtype float64 needs jax's x64 mode; set JAX_ENABLE_X64=1, or use"):
            made(config, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("implementation", ["recurrent", "parallel", "chunkwise"])
def test_mlstm_implementation_is_the_named_one(implementation):
    made = example(small("m", mlstm=dataclasses.replace(MLSTM, implementation=implementation, chunk_size=3)))
    lowered = made.unroll.lower(made.params, TOKENS)
    assert f"mlstm_{implementation}" in lowered.as_text(debug_info=True)


def test_recurrent_block_is_the_cell_of_the_config():
    """One layer of the named cell, without anything around it."""
    made = example(small("r", recurrent=RecurrentBlockConfig("gru"), final_norm=False))

    def by_hand(params, tokens):
        model = made.model(params)
        y, _ = model.blocks[0].layer(model.embedding(tokens))
        return model.head(y)

    assert "norm" not in made.params
    assert made.params["blocks"][0]["layer"]["layers"][0]["w_h"].shape == (16, 3 * 16)
    wanted = jax.jit(by_hand)(made.params, TOKENS)
    assert error(made.unroll(made.params, TOKENS)[0], wanted) <= 1e-6


@pytest.mark.parametrize(
    ("pattern", "num_blocks", "letters"),
    [
        ("xLSTM[7:1]", 0, "mmmmmmms"),
        ("xLSTM[1:0]", 3, "mmm"),
        ("xLSTM[1:1]", 4, "msms"),
        ("mxs", 3, "mxs"),
        ("mlstm*7,slstm", 0, "mmmmmmms"),
        ("m*2, xlstm ,ts", 0, "mmxts"),
        ("ms*2", 0, "msms"),
    ],
)
def test_notations_of_patterns(pattern, num_blocks, letters):
    wanted = tuple(BLOCKS.name_of(letter) for letter in letters)
    assert small(pattern, num_blocks=num_blocks).layers == wanted


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("mlstm*0", "'mlstm[*]0' is not allowed; write letters such as 'mms', or names with counts"),
        ("m,,s", "'' is not allowed"),
        ("mlstm*x", "'mlstm[*]x' is not allowed"),
        ("m*99999", "has 99999 blocks; give between 1 and 10000"),
        ("mlstn", "unknown block 'l'; known: mamba2"),
    ],
)
def test_patterns_that_are_none(pattern, message):
    with pytest.raises(UsageError, match=message) as caught:
        small(pattern).layers  # noqa: B018
    assert "\n" not in str(caught.value)


def test_softcap():
    """Logits stay within the cap; a very large cap does not change them."""
    made, capped = (example(small("r", logit_softcap=cap)) for cap in (0.0, 2.0))
    logits, _ = made.unroll(made.params, TOKENS)
    got, _ = capped.unroll(made.params, TOKENS)
    assert np.abs(logits).max() > 2
    assert error(got, 2 * np.tanh(np.asarray(logits) / 2)) <= 1e-6


def test_tied_embedding_is_a_head_of_its_transpose():
    tied, untied = example(small("r", tie_embedding=True)), example(small("r"))
    params = dict(tied.params, head={"kernel": tied.params["embedding"]["embedding"].T})
    wanted, _ = untied.unroll(params, TOKENS)
    assert error(tied.unroll(tied.params, TOKENS)[0], wanted) <= 1e-6
