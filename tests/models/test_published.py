"""Published sizes, counted from shapes without making the parameters."""

import dataclasses

import jax
import pytest
from flax import nnx

from configs import xlstm
from xlstm_jax.errors import UsageError
from xlstm_jax.models import ModelConfig, build_model
from xlstm_jax.models.published import named, names

# Millions of parameters, to the published number of digits; for "paper" models, from their names, to a tenth.
PUBLISHED = {"xlstm_165m": 164.1, "xlstm_1.3b": 1420, "xlstm_2.7b": 2780, "xlstm_7b": 6865}
NOMINAL = {"120m": 120, "165m": 165, "1.3b": 1300, "7b": 7000}


def count(config: ModelConfig) -> tuple[int, list[int]]:
    """Number of parameters of the whole model and of each block."""
    state = nnx.split(nnx.eval_shape(lambda: build_model(config)))[1]
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(part)) for part in (state, *state["blocks"].values())]
    return sizes[0], sizes[1:]


def millions(name: str) -> float:
    """Blocks of one kind have the same size, so only one of each is made."""
    config = named(name)
    kinds = sorted(set(config.layers))
    whole, blocks = count(dataclasses.replace(config, pattern=",".join(kinds), num_blocks=0))
    more = (size * (config.layers.count(kind) - 1) for kind, size in zip(kinds, blocks, strict=True))
    return (whole + sum(more)) / 1e6


def test_blocks_of_a_kind_are_of_one_size():
    assert count(named("paper_7_1_165m"))[0] / 1e6 == millions("paper_7_1_165m")


@pytest.mark.parametrize("name", names())
def test_parameters(name):
    if name in PUBLISHED:
        assert millions(name) == pytest.approx(PUBLISHED[name], rel=1e-3)
    else:
        assert millions(name) == pytest.approx(NOMINAL[name.rpartition("_")[2]], rel=0.1)


def test_ratio_of_blocks():
    assert named("paper_7_1_1.3b").layers == (7 * ("mlstm",) + ("slstm",)) * 6


def test_unknown_name():
    with pytest.raises(UsageError, match=r"unknown model 'xlstm_8b'; known: .*xlstm_7b"):
        named("xlstm_8b")


def test_config_file():
    """The config is the model's, except the vocabulary, which is that of the data."""
    config = xlstm.get_config("xlstm_7b")
    assert (config.model.features, config.model.xlstm.num_heads, config.model.pattern) == (4096, 8, "xlstm*32")
    assert "vocab_size" not in config.model and config.model.logit_softcap == 30
