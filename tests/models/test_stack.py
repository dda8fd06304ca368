"""Rematerialised and scanned blocks: the same function with less memory or a smaller program."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import VOCABULARY, Example, abstract, error, example, small
from xlstm_jax.config import from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, ModelConfig, build_model
from xlstm_jax.models.blocks.transformer import TransformerBlockConfig
from xlstm_jax.models.repeated import repetitions
from xlstm_jax.train.optimizer import ParameterKinds

BATCH, TIME = 3, 6
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, VOCABULARY, (BATCH, TIME), np.int32)
WEIGHT = RNG.standard_normal((BATCH, TIME, VOCABULARY)).astype(np.float32)
RESET = np.arange(TIME)[None, :] == np.array([[3], [0], [-1]])
LENGTHS = np.array([TIME, 5, TIME])
VARIANTS = {"remat": "dots"}, {"scan_layers": True, "remat": "full"}
EVERY_LETTER = [
    pytest.param(f"{letter}*2", ({"remat": "full"}, {"scan_layers": True}), marks=pytest.mark.slow)
    for letter in BLOCKS.names()
]


def stacked(params, config):
    """The parameters of a model without `scan_layers`, in the form of one with it."""
    blocks = params["blocks"]
    groups = []
    for start, period, turns in repetitions(config.layers):
        layers = [blocks[index] for index in range(start, start + period * turns)]
        places = [jax.tree.map(lambda *leaves: np.stack(leaves), *layers[place::period]) for place in range(period)]
        groups += [{"stacked": dict(enumerate(places))}] if turns > 1 else layers
    return params | {"blocks": dict(enumerate(groups))}


def scanned_example(config):
    """The example without `scan_layers`, with its values, as a model with it."""
    plain = example(dataclasses.replace(config, scan_layers=False))
    graphdef, shapes = abstract(config)
    params = stacked(plain.params, config)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, shapes)
    return Example(graphdef, params)


def results(pattern, **changes):
    """Logits, carry and gradients, with dropout, from a nonempty carry."""
    config = small(pattern, dropout=0.2, dtype="float64", **changes)
    made = scanned_example(config) if config.scan_layers else example(config)
    params, carry = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
        (made.params, made.model().init_carry(BATCH)),
    )
    filled = jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), carry)

    def weighed(params, carry):
        logits, after = made.model(params).unroll(TOKENS, carry, reset=RESET, lengths=LENGTHS, key=jax.random.key(3))
        return jnp.sum(logits * WEIGHT), (logits, after)

    with jax.numpy_dtype_promotion("standard"):  # for flax's own norms
        (_, aux), gradients = jax.jit(jax.value_and_grad(weighed, has_aux=True))(params, filled)
    return aux, gradients


@pytest.mark.parametrize(
    ("pattern", "variants"), [pytest.param("tmrmr", VARIANTS, marks=pytest.mark.slow), *EVERY_LETTER]
)
def test_it_is_the_same_function(x64, pattern, variants):
    """Values, carries and all gradients are equal, with resets, padding and the same dropout.

    In float64: with these random gates, terms of gradients cancel, and float32 rounding would hide an error.
    """
    aux, gradients = results(pattern)
    for changes in variants:
        wanted = aux, stacked(gradients, small(pattern)) if changes.get("scan_layers") else gradients
        wanted, got = jax.tree_util.tree_leaves_with_path(wanted), results(pattern, **changes)
        for (path, a), b in zip(wanted, jax.tree.leaves(got), strict=True):
            assert a.dtype == b.dtype and error(b, a) <= 1e-8, (changes, jax.tree_util.keystr(path))


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_bfloat16(letter):
    """A scan's carry keeps its dtype. Repeated blocks of every letter differ only in values, so there is one scan."""
    config = small(f"{letter}*3", dtype="bfloat16", scan_layers=True)
    plain, scanned = example(dataclasses.replace(config, scan_layers=False)), scanned_example(config)
    with jax.numpy_dtype_promotion("standard"):  # for flax's own norms
        wanted, got = (jax.eval_shape(one.unroll, one.params, TOKENS) for one in (plain, scanned))
        program = jax.make_jaxpr(scanned.unroll)(scanned.params, TOKENS)
    assert wanted == got
    (run,) = program.eqns
    assert [eqn.params["length"] for eqn in run.params["jaxpr"].eqns if eqn.primitive.name == "scan"] == [3]
    assert len(scanned.params["blocks"]) == 1


def gradient_program(config, time, batch=4):
    graphdef, shapes = abstract(config)
    tokens = np.zeros((batch, time), np.int32)
    return jax.jit(jax.grad(lambda params: jnp.mean(nnx.merge(graphdef, params)(tokens) ** 2))).lower(shapes)


def test_less_is_kept():
    """The temporary memory of the compiled gradients, which each policy makes smaller.

    Only for scans: without one, XLA's CPU backend drops the barriers that delay the recomputation.
    """
    memory, block = {}, TransformerBlockConfig(num_heads=2, window=32)
    for remat in ("none", "dots", "full"):
        config = ModelConfig(vocab_size=11, features=16, pattern="t*8", blocks=(block,), remat=remat, scan_layers=True)
        memory[remat] = gradient_program(config, 32).compile().memory_analysis().temp_size_in_bytes
    assert memory["full"] < 0.7 * memory["dots"] and memory["dots"] < 0.7 * memory["none"], memory
    unrolled = gradient_program(
        ModelConfig(vocab_size=11, features=16, pattern="tt", blocks=(block,), remat="full"), 32
    ).as_text()
    assert unrolled.count("optimization_barrier") == 2


@pytest.mark.slow
def test_the_program_does_not_grow_with_depth():
    """With a scan, 8 layers have as many products as 4."""
    sizes = {}
    for scan_layers in (False, True):
        for layers in (4, 8):
            text = gradient_program(small(layers // 2 * "ms", scan_layers=scan_layers), 8).as_text()
            sizes[scan_layers, layers] = text.count("stablehlo.dot_general"), len(text)
    # The remaining text stacks the carries of 4 more layers.
    assert sizes[True, 8][1] < 1.05 * sizes[True, 4][1]
    assert sizes[True, 4][0] == sizes[True, 8][0] and sizes[False, 8][0] > 1.8 * sizes[False, 4][0]


@pytest.mark.parametrize("pattern", ["mmmm", "tmrmr"])
def test_unscanned(pattern):
    """The same model block by block, which decoding uses. Initial values do not depend on `scan_layers`."""
    config = small(pattern, scan_layers=True)
    got, plain = scanned_example(config).model().unscanned(), example(small(pattern)).model()
    assert got.config == plain.config and plain.unscanned() is plain
    logits = (nnx.jit(lambda model: model(TOKENS))(one) for one in (got, plain))
    np.testing.assert_array_equal(next(logits), next(logits))
    jax.tree.map(np.testing.assert_array_equal, *(nnx.to_pure_dict(nnx.state(one)) for one in (got, plain)))
    made = [build_model(one, rngs=nnx.Rngs(3)) for one in (config, small(pattern))]
    carries = [one.init_carry(2) for one in made]
    jax.tree.map(np.testing.assert_array_equal, *carries)
    states = (nnx.to_pure_dict(nnx.state(one.unscanned())) for one in made)
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_what_decays_is_the_same():
    """The axis of layers does not turn a bias or a scale into a matrix."""
    config = small("ssrr")

    def decayed(config):
        return ParameterKinds.of(nnx.split(nnx.eval_shape(lambda: build_model(config)))[1]).decayed

    layers = jax.tree.map(lambda leaf, flag: np.full(leaf.shape, flag), example(config).params, decayed(config))
    wanted = jax.tree.map(lambda leaf: bool(leaf.any()), stacked(layers, config))
    assert decayed(dataclasses.replace(config, scan_layers=True)) == wanted


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("", []),
        ("m", [(0, 1, 1)]),
        ("ms", [(0, 1, 1), (1, 1, 1)]),
        ("mmmm", [(0, 1, 4)]),
        ("mmmsmmmsmmms", [(0, 4, 3)]),
        ("rmmsmmstt", [(0, 1, 1), (1, 3, 2), (7, 1, 2)]),
        ("mmsmm", [(0, 1, 2), (2, 1, 1), (3, 1, 2)]),
    ],
)
def test_repetitions(pattern, wanted):
    assert list(repetitions(pattern)) == wanted


def test_an_unknown_policy():
    with pytest.raises(UsageError, match=re.escape("model.remat 'all' is not allowed; must be one of 'none', 'dots',")):
        from_section(ModelConfig, {"remat": "all"}, "model")
