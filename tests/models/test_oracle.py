"""Blocks and whole models against the equations of the paper in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import oracle
from tests.models.examples import FEATURES, MLSTM, SECTIONS, SLSTM, VOCABULARY, error, example, small

BATCH, TIME = 2, 9
HEADS = {"m": MLSTM.num_heads, "s": SLSTM.num_heads, "x": 2}
OTHER_GATES = {"input_gate": "sigmoid", "forget_gate": "exp"}
BLOCKS = {"m": "mlstm", "s": "slstm", "x": "xlstm"}
CASES = [(letter, {}) for letter in BLOCKS]
CASES += [(letter, changes) for letter in "ms" for changes in ({"conv_width": 0}, OTHER_GATES)]
TOKENS = np.random.default_rng(3).integers(0, VOCABULARY, (BATCH, TIME), np.int32)


def float64(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


@pytest.mark.parametrize(("letter", "changes"), CASES)
def test_block(letter, changes):
    """What a block adds to its input, so that the input itself does not hide an error."""
    name = BLOCKS[letter]
    made = example(small(letter, **{name: dataclasses.replace(SECTIONS[name], **changes)}))
    x = np.random.default_rng(1).standard_normal((BATCH, TIME, FEATURES)).astype(np.float32)

    def run(params, x):
        block = made.model(params).blocks[0]
        return block(x, block.init_carry(BATCH))[0]

    added = np.asarray(jax.jit(run)(made.params, jnp.asarray(x)), np.float64) - x
    params = float64(made.params["blocks"][0])
    gates = changes if "input_gate" in changes else {}
    wanted = oracle.BLOCKS[letter](params, x.astype(np.float64), HEADS[letter], **gates) - x
    assert error(added, wanted) <= 1e-5


@pytest.mark.parametrize("letter", BLOCKS)
def test_every_parameter_counts(letter):
    """The oracle reads all parameters of the block, so that none of them goes untested."""
    params = float64(example(small(letter)).params["blocks"][0])
    x = np.random.default_rng(1).standard_normal((1, TIME, FEATURES))
    before = oracle.BLOCKS[letter](params, x, HEADS[letter])
    leaves, tree = jax.tree.flatten(params)
    for index, leaf in enumerate(leaves):
        changed = tree.unflatten([*leaves[:index], leaf * 1.1, *leaves[index + 1 :]])
        assert error(oracle.BLOCKS[letter](changed, x, HEADS[letter]), before) > 1e-5


@pytest.mark.parametrize("pattern", ["ms", "mmsm", "xs"])
def test_model(pattern):
    made = example(small(pattern))
    got, _ = made.unroll(made.params, TOKENS)
    assert got.dtype == jnp.float32
    assert error(got, oracle.logits(float64(made.params), TOKENS, pattern, HEADS)) <= 2e-5
