"""Invalid arguments of blocks and models, which one line names; no rows or steps; unknown tokens."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models import examples
from tests.models.examples import FEATURES, VOCABULARY, example, small
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import prefill
from xlstm_jax.models import BLOCKS, Stack
from xlstm_jax.models.inputs import known_tokens

BATCH, TIME = 2, 5
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, TIME), np.int32)
RESET, LENGTHS = np.zeros((BATCH, TIME), bool), np.array([5, 3], np.int32)
abstract = functools.cache(examples.abstract)
every_letter = pytest.mark.parametrize("letter", BLOCKS.names())


def shape(*sizes, dtype=np.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def unroll(config, tokens, carry=None, **options):
    """Logits and carry of a model, as shapes."""
    graphdef, params = abstract(config)
    run = lambda params, tokens, carry: nnx.merge(graphdef, params).unroll(tokens, carry, **options)  # noqa: E731
    return jax.eval_shape(run, params, tokens, carry)


def block(letter, x, carry=None, **options):
    """The output of one block, as shapes."""
    graphdef, params = abstract(small(letter))
    run = lambda params, x, carry: nnx.merge(graphdef, params).blocks[0](x, carry, **options)  # noqa: E731
    return jax.eval_shape(run, params, x, carry)


def start(config, batch=BATCH):
    graphdef, params = abstract(config)
    return jax.eval_shape(lambda params: nnx.merge(graphdef, params).init_carry(batch), params)


def refused(message, function, *args, **options):
    with pytest.raises(UsageError, match=message) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


@every_letter
def test_what_a_block_is_given(letter):
    """Inputs, masks and carries that do not fit; the message names the block."""
    x, name = shape(BATCH, TIME, FEATURES), BLOCKS.get(letter).__name__
    y, carry = block(letter, x, start(small(letter))[0], reset=RESET, lengths=LENGTHS)
    assert y == x
    for wrong, message in (
        (shape(BATCH, TIME, FEATURES + 1), rf"x has D = {FEATURES + 1}, not {FEATURES}"),
        (shape(BATCH, FEATURES), "x has 2 axes, not 3"),
        (shape(BATCH, TIME, FEATURES, dtype=np.int32), "of int32; wanted floats"),
    ):
        refused(f"^{name} got x .*{message}", block, letter, wrong)
    for options, message in (
        ({"lengths": LENGTHS[:1]}, "lengths has B = 1, not 2"),
        ({"lengths": ~RESET}, r"lengths \(2, 5\) of bool; wanted integers"),
        ({"reset": RESET[:1]}, "reset has B = 1, not 2"),
        ({"reset": RESET.astype(int)}, r"reset \(2, 5\) of int32; wanted bools"),
    ):
        refused(f"^{name} got .*{message}", block, letter, x, **options)
    for rows in (1, 3):
        refused(rf"^{name} got carry.* \({rows}, ", block, letter, x, start(small(letter), rows)[0])
    for other in BLOCKS.names():
        wrong = start(small(other))[0]
        if jax.tree.map(jnp.shape, wrong) != jax.tree.map(jnp.shape, carry):
            refused(f"^{name} got carry", block, letter, x, wrong)


@pytest.mark.parametrize(
    ("letter", "scan_layers"),
    [
        pytest.param(letter, scan, marks=[pytest.mark.slow] * (scan and letter not in ("mlstm", "recurrent")))
        for letter in BLOCKS.names()
        for scan in (False, True)
    ],
)
def test_no_rows_and_no_steps(letter, scan_layers):
    """Empty logits, the carry of all rows, and their gradients."""
    config = small(f"{letter}*2", scan_layers=scan_layers)
    graphdef, params = abstract(config)
    for batch, time in ((BATCH, 0), (0, TIME), (0, 0)):
        tokens, carry = shape(batch, time, dtype=np.int32), start(config, batch)
        given = {"reset": RESET[:batch, :time], "lengths": np.minimum(LENGTHS[:batch], time)}
        logits, after = unroll(config, tokens, carry, **given)
        assert logits.shape == (batch, time, VOCABULARY) and after == carry

        def loss(params, carry, given=given, tokens=tokens):
            run = nnx.merge(graphdef, params).unroll
            logits, carry = run(jnp.zeros(tokens.shape, jnp.int32), carry, key=jax.random.key(0), **given)
            leaves = [leaf for leaf in jax.tree.leaves(carry) if leaf.dtype == jnp.float32]
            return sum(jnp.sum(leaf) for leaf in (logits, *leaves))

        assert jax.eval_shape(jax.grad(loss), params, carry) == params


@every_letter
def test_no_steps_leave_the_carry_as_it_is(letter):
    """For a carry that has read something."""
    made = example(small(letter))
    state = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), start(small(letter)))
    logits, after = made.unroll(made.params, TOKENS[:, :0], state)
    assert logits.shape == (BATCH, 0, VOCABULARY)
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_a_carry_of_another_model():
    """With another depth or order, and for one block in a scan of several."""
    config = small("ms")
    carry = start(config)
    for wrong, message in (
        (
            carry[:1],
            r"^LanguageModel got carry tuple of 1 \(MLSTMCarry\(conv, state\)\); wanted a tuple of 2, one for each",
        ),
        (carry[0], r"^LanguageModel got carry MLSTMCarry\(conv, state\); wanted a tuple of 2"),
        (carry[::-1], r"^MLSTMBlock got carry SLSTMCarry\(conv, state\); wanted MLSTMCarry\(conv, state\)"),
    ):
        refused(message, unroll, config, TOKENS, wrong)
    scanned = small("mm", scan_layers=True)
    two, three = start(scanned), start(scanned, 3)
    refused(
        r"^MLSTMBlock got carry\[1\].conv \(3, 3, 32\) of float32; wanted \(2, 3, 32\)",
        unroll,
        scanned,
        TOKENS,
        (two[0], three[0]),
    )
    assert unroll(config, TOKENS, (None, carry[1]))[1] == carry


def test_a_block_of_several_in_a_scan_starts_afresh_where_its_carry_is_none():
    """As without the scan; a part of a block's carry may also be None."""
    made = example(small("rr", scan_layers=True))
    fresh = made.model().init_carry(BATCH)
    read = jax.tree.map(jnp.ones_like, fresh[1])
    run = jax.jit(lambda carry: made.model().unroll(TOKENS, carry)[0])
    np.testing.assert_array_equal(run((None, read)), run((fresh[0], read)))
    config = small("mm", scan_layers=True)
    one, two = start(config)
    for given in ((one, None), (one._replace(conv=None), two), (two, one._replace(state=None))):
        assert unroll(config, TOKENS, given)[1] == (one, two)
    refused(r"^MLSTMBlock got carry\[1\]\.conv \(3, 3, 32\)", unroll, config, TOKENS, (None, start(config, 3)[1]))


def test_what_a_model_is_given():
    config = small("r")
    for tokens, options, message in (
        (TOKENS.astype(np.float32), {}, r"^Tokens got tokens \(2, 5\) of float32; wanted integers"),
        (TOKENS[0], {}, "^Tokens got .*tokens has 1 axes, not 2"),
        (TOKENS, {"lengths": ~RESET}, r"^Tokens got lengths \(2, 5\) of bool"),
        (TOKENS, {"reset": RESET[:1]}, "^LanguageModel got .*reset has B = 1, not 2"),
    ):
        refused(message, unroll, config, tokens, **options)
    reader = examples.reads_numbers(config, 3)
    refused("^Features got .*u has F = 4, not 3", reader, np.zeros((BATCH, TIME, 4), np.float32))
    refused(r"^Features got u \(2, 5, 3\) of int32", reader, np.zeros((BATCH, TIME, 3), np.int32))
    lists = unroll(config, TOKENS.tolist(), lengths=[5, 3], reset=RESET.tolist())
    assert lists == unroll(config, TOKENS, lengths=LENGTHS, reset=RESET)
    for name in ("int32", "bool"):
        refused(f"model.dtype '{name}' is not allowed", dataclasses.replace, config, dtype=name)


@pytest.mark.parametrize("directions", ["alternate", "both"])
def test_what_a_stack_is_given(directions):
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Stack(small("ms"), directions, rngs=nnx.Rngs(0))))

    def run(x, lengths=None):
        return jax.eval_shape(lambda state, x: nnx.merge(graphdef, state)(x, lengths=lengths)[0], state, x)

    for x, lengths, message in (
        (shape(BATCH, TIME, FEATURES + 1), None, f"x has D = {FEATURES + 1}, not {FEATURES}"),
        (shape(BATCH, TIME, FEATURES), LENGTHS[:1], "lengths has B = 1, not 2"),
        (shape(BATCH, TIME, FEATURES), ~RESET, r"lengths \(2, 5\) of bool"),
    ):
        refused(f"^Stack got .*{message}", run, x, lengths)
    for batch, time in ((BATCH, 0), (0, TIME), (0, 0)):
        x = shape(batch, time, FEATURES)
        assert run(x) == run(x, np.minimum(LENGTHS[:batch], time)) == x


OUTSIDE = np.array([[-1, VOCABULARY, 3, 2**31 - 1, -(2**31)]], np.int32)


def test_tokens_outside_the_vocabulary_are_refused_where_they_are_known():
    """Outside of jit."""
    model = example(small("r")).model()
    for token in (-1, VOCABULARY):
        message = re.escape(f"token {token} at (0, 1) is outside the vocabulary; must be 0 to {VOCABULARY - 1}")
        for kind in (np.asarray, jnp.asarray, list):
            refused(message, model, kind([[0, token, 99]]))
        refused(message, model.unroll, [[0, token, 99]], lengths=[2])
        refused(message, prefill, model, [[0, token]])
    # In the padding, any value is allowed.
    padded = known_tokens(jnp.array([[1, 2, -1]]), VOCABULARY, jnp.array([2]))
    np.testing.assert_array_equal(padded, [[1, 2, 0]])
    refused(r"prefill got tokens \(1, 2\) of float32; wanted integers", prefill, model, [[1.0, 2.0]])


def test_tokens_outside_the_vocabulary_are_the_nearest_inside_under_jit():
    """For any integer type. Without clipping, lookups above the vocabulary give NaN, and below 0 the last tokens."""
    made = example(small("r"))
    inside = np.clip(OUTSIDE, 0, VOCABULARY - 1)
    np.testing.assert_array_equal(made.unroll(made.params, OUTSIDE)[0], made.unroll(made.params, inside)[0])
    narrow = unroll(small("r"), shape(1, 5, dtype=np.uint8))
    assert narrow[0].shape == (1, 5, VOCABULARY)
