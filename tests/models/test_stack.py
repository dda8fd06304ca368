"""Blocks rematerialised and scanned: the same function, in less memory or in a smaller program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import VOCABULARY, error, example, small
from xlstm_jax.config import from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, ModelConfig
from xlstm_jax.models.config import TransformerBlockConfig
from xlstm_jax.models.stack import repetitions

BATCH, TIME = 3, 6
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, VOCABULARY, (BATCH, TIME), np.int32)
WEIGHT = RNG.standard_normal((BATCH, TIME, VOCABULARY)).astype(np.float32)
RESET = np.arange(TIME)[None, :] == np.array([[3], [0], [-1]])
LENGTHS = np.array([TIME, 5, TIME])
VARIANTS = {"remat": "dots"}, {"scan_layers": True, "remat": "full"}
EVERY_LETTER = [
    pytest.param(2 * letter, ({"remat": "full"}, {"scan_layers": True}), marks=pytest.mark.slow)
    for letter in BLOCKS.names()
    if letter != "x"  # where |n.q| crosses e^-m, which these gates bring about, rounding decides a gradient
]


def results(pattern, **changes):
    """Logits, carry and gradients, with dropout, from a carry that holds something."""
    made = example(small(pattern, dropout=0.2, **changes))
    filled = jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), made.model().init_carry(BATCH))

    def weighed(params, carry):
        logits, after = made.model(params).unroll(TOKENS, carry, reset=RESET, lengths=LENGTHS, key=jax.random.key(3))
        return jnp.sum(logits * WEIGHT), (logits, after)

    (_, aux), gradients = jax.jit(jax.value_and_grad(weighed, has_aux=True))(made.params, filled)
    return aux, gradients


@pytest.mark.parametrize(("pattern", "variants"), [("tmrmr", VARIANTS), *EVERY_LETTER])
def test_it_is_the_same_function(pattern, variants):
    """In values, carries and all gradients, with resets, padding and the same dropout.

    To what float32 gives: random gates make gradients of terms that cancel, and another order of operations shows.
    """
    wanted = jax.tree_util.tree_leaves_with_path(results(pattern))
    for changes in variants:
        got = results(pattern, **changes)
        for (path, a), b in zip(wanted, jax.tree.leaves(got), strict=True):
            assert a.dtype == b.dtype and error(b, a) <= 5e-3, (changes, jax.tree_util.keystr(path))


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_bfloat16(letter):
    """A scan's carry keeps its dtype; every letter's repeated blocks are equal in all but values, so that it is one."""
    plain, scanned = (example(small(3 * letter, dtype="bfloat16", scan_layers=scan)) for scan in (False, True))
    with jax.numpy_dtype_promotion("standard"):  # for flax's own norms
        wanted, got = (jax.eval_shape(one.unroll, one.params, TOKENS) for one in (plain, scanned))
        program = jax.make_jaxpr(scanned.unroll)(scanned.params, TOKENS)
    assert wanted == got
    (run,) = program.eqns
    assert [eqn.params["length"] for eqn in run.params["jaxpr"].eqns if eqn.primitive.name == "scan"] == [3]


def gradient_program(config, time, batch=4):
    made = example(config)
    tokens = np.zeros((batch, time), np.int32)
    return jax.jit(jax.grad(lambda params: jnp.mean(made.model(params)(tokens) ** 2))).lower(made.params)


def test_less_is_kept():
    """The temporary memory of the compiled gradients, each policy's beside the next one's.

    Scanned: what is computed again stays in the loop. Unrolled, XLA's CPU backend drops the barriers that hold it back.
    """
    memory, block = {}, TransformerBlockConfig(num_heads=2, context=32)
    for remat in ("none", "dots", "full"):
        config = ModelConfig(11, 16, "t" * 8, transformer=block, remat=remat, scan_layers=True)
        memory[remat] = gradient_program(config, 32).compile().memory_analysis().temp_size_in_bytes
    assert memory["full"] < 0.7 * memory["dots"] and memory["dots"] < 0.7 * memory["none"], memory
    unrolled = gradient_program(ModelConfig(11, 16, "tt", transformer=block, remat="full"), 32).as_text()
    assert unrolled.count("optimization_barrier") == 2


def test_the_program_does_not_grow_with_depth():
    """Scanned: as many products in 8 layers as in 4."""
    sizes = {}
    for scan_layers in (False, True):
        for layers in (4, 8):
            text = gradient_program(small(layers // 2 * "ms", scan_layers=scan_layers), 8).as_text()
            sizes[scan_layers, layers] = text.count("stablehlo.dot_general"), len(text)
    # Beside them, the text of what stacks 4 more layers' parameters and takes their gradients apart.
    assert sizes[True, 8][1] < 1.1 * sizes[True, 4][1]
    assert sizes[True, 4][0] == sizes[True, 8][0] and sizes[False, 8][0] > 1.8 * sizes[False, 4][0]


def test_one_token_is_read_unrolled():
    """Generation would stack the parameters anew for each token."""
    made = example(small("mmmm", scan_layers=True))
    plain = example(small("mmmm"))
    token = np.zeros((1, 1), np.int32)
    lowered = (one.unroll.lower(one.params, token, one.model().init_carry(1)).as_text() for one in (made, plain))
    assert next(lowered) == next(lowered)


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
    with pytest.raises(UsageError, match=re.escape("model.remat = 'all' is not allowed; it is one of 'none', 'dots',")):
        from_section(ModelConfig, {"remat": "all"}, "model")
