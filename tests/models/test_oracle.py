"""Blocks and whole models against NumPy versions of their papers' equations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import baseline_oracle, oracle
from tests.models.examples import FEATURES, OPTIONS, VOCABULARY, error, example, small
from xlstm_jax.models import BLOCKS as REGISTERED

BATCH, TIME = 2, 9
OTHER_GATES = {"input_gate": "sigmoid", "forget_gate": "exp"}


def by_heads(block):
    """An oracle that takes the number of heads, and the gates if they are not the default."""

    def run(params, x, options):
        own = {name: getattr(options, name) for name in OTHER_GATES if hasattr(options, name)}
        return block(params, x, options.num_heads, **own)

    return run


# By letter: the section of the block's options, and its oracle.
BLOCKS = {
    "m": ("mlstm", by_heads(oracle.mlstm_block)),
    "s": ("slstm", by_heads(oracle.slstm_block)),
    "x": ("xlstm", by_heads(oracle.xlstm_block)),
    "t": ("transformer", baseline_oracle.transformer_block),
    "d": ("mamba2", baseline_oracle.mamba2_block),
    "n": ("minimal", baseline_oracle.minimal_block),
    "g": ("griffin", baseline_oracle.griffin_block),
    "w": ("rwkv6", baseline_oracle.rwkv6_block),
}
CASES = [(letter, {}) for letter in BLOCKS]
CASES += [(letter, changes) for letter in "ms" for changes in ({"conv_width": 0}, OTHER_GATES)]
TOKENS = np.random.default_rng(3).integers(0, VOCABULARY, (BATCH, TIME), np.int32)


def float64(params):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


@pytest.mark.parametrize(("letter", "changes"), CASES)
def test_block(letter, changes):
    """Compares only the residual branch, so that the input does not hide an error."""
    name, wanted_of = BLOCKS[letter]
    options = dataclasses.replace(OPTIONS[name], **changes)
    made = example(small(letter, **{name: options}))
    x = np.random.default_rng(1).standard_normal((BATCH, TIME, FEATURES)).astype(np.float32)

    def run(params, x):
        block = made.model(params).blocks[0]
        return block(x, block.init_carry(BATCH))[0]

    added = np.asarray(jax.jit(run)(made.params, jnp.asarray(x)), np.float64) - x
    wanted = wanted_of(float64(made.params["blocks"][0]), x.astype(np.float64), options) - x
    assert error(added, wanted) <= 1e-5


@pytest.mark.parametrize("letter", BLOCKS)
def test_every_parameter_counts(letter):
    """The oracle reads all parameters of the block, so all of them are tested."""
    name, oracle_of = BLOCKS[letter]
    params, options = float64(example(small(letter)).params["blocks"][0]), OPTIONS[name]
    x = np.random.default_rng(1).standard_normal((1, TIME, FEATURES))
    before = oracle_of(params, x, options)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(2)
    for index, leaf in enumerate(leaves):
        changed = tree.unflatten([*leaves[:index], leaf * rng.uniform(0.5, 1.5, leaf.shape), *leaves[index + 1 :]])
        assert error(oracle_of(changed, x, options), before) > 1e-5


def test_every_block_has_an_oracle():
    """Except the plain recurrent layer, which `tests/nn` tests."""
    assert {*BLOCKS, "r"} == set(REGISTERED.letters())


@pytest.mark.parametrize("pattern", ["ms", "mmsm", "xt"])
def test_model(pattern):
    """Embedding, blocks, final norm, head."""
    made = example(small(pattern))
    got, _ = made.unroll(made.params, TOKENS)
    params = float64(made.params)
    x = params["embedding"]["embedding"][TOKENS]
    for index, letter in enumerate(pattern):
        name, wanted_of = BLOCKS[letter]
        x = wanted_of(params["blocks"][index], x, OPTIONS[name])
    assert got.dtype == jnp.float32
    assert error(got, oracle.normalized(x, params["norm"]["scale"]) @ params["head"]["kernel"]) <= 2e-5


@pytest.mark.parametrize(("letter", "name"), [("d", "A_log"), ("w", "decay")])
def test_a_decay_that_forgets_all(letter, name):
    """A rate of e^100, beyond float32: the values are the oracle's, gradients are finite, and that of the rate is 0."""
    section, wanted_of = BLOCKS[letter]
    made = example(small(letter))
    params = made.params["blocks"][0] | {name: jnp.full_like(made.params["blocks"][0][name], 100.0)}
    x = np.random.default_rng(1).standard_normal((BATCH, TIME, FEATURES)).astype(np.float32)

    @jax.jit
    def run(params, x):
        def added(params, x):
            block = made.model({**made.params, "blocks": {0: params}}).blocks[0]
            return block(x, block.init_carry(BATCH))[0] - x

        y, pullback = jax.vjp(added, params, x)
        return y, pullback(jnp.cos(y))

    y, (dparams, dx) = run(params, jnp.asarray(x))
    wanted = wanted_of(float64(params), x.astype(np.float64), OPTIONS[section]) - x
    assert error(y, wanted) <= 1e-5
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((dparams, dx)))
    assert not np.any(dparams[name]) and np.any(dx)
