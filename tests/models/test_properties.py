"""Properties of every stack of blocks. No block is named here, so a new letter is tested once it is registered."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import MLSTM, SLSTM, VOCABULARY, error, example, random_params, reads_numbers, small
from xlstm_jax.models import BLOCKS

BATCH, TIME, HALF = 3, 12, 6
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, TIME), np.int32)
OTHER = (TOKENS + 1) % VOCABULARY
NO_RESET, FULL = np.zeros((BATCH, TIME), bool), np.full(BATCH, TIME)
CLOSE = 1e-5

every_pattern = pytest.mark.parametrize("pattern", [*BLOCKS.names(), "msr"])
every_letter = pytest.mark.parametrize("pattern", BLOCKS.names())


def run(pattern, tokens, carry=None, reset=None, lengths=None):
    """Logits and carry. Resets and lengths are always arrays, so that all tests share few compiled programs."""
    made = example(small(pattern))
    batch, time = tokens.shape
    carry = made.model().init_carry(batch) if carry is None else carry
    reset = NO_RESET[:batch, :time] if reset is None else reset
    lengths = np.full(batch, time) if lengths is None else lengths
    return made.unroll(made.params, tokens, carry, reset, lengths)


def assert_close(got, wanted, limit=CLOSE):
    """Leaf by leaf; equal infinities (an empty sLSTM state's stabiliser) are equal."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        if b[finite].any():
            assert error(np.where(finite, a, 0), np.where(finite, b, 0)) <= limit


@every_letter
def test_no_reset_and_full_lengths_are_none_at_all(pattern):
    """No carry means `init_carry`."""
    made = example(small(pattern))
    assert_close(made.unroll(made.params, TOKENS), run(pattern, TOKENS))


@every_pattern
def test_causality(pattern):
    """A changed token changes all logits from its step on, and none before."""
    logits, _ = run(pattern, TOKENS)
    changed, _ = run(pattern, np.where(np.arange(TIME) == HALF, OTHER, TOKENS))
    assert_close(changed[:, :HALF], logits[:, :HALF], limit=1e-6)
    assert np.abs(changed - logits)[:, HALF:].max(axis=-1).min() > 1e-4


@every_pattern
def test_split(pattern):
    """Two halves with the carry passed on equal the whole, including the final carry."""
    logits, carry = run(pattern, TOKENS)
    first, middle = run(pattern, TOKENS[:, :HALF])
    second, end = run(pattern, TOKENS[:, HALF:], middle)
    assert_close(np.concatenate([first, second], axis=1), logits)
    assert_close(end, carry, limit=1e-4)


@every_letter
def test_one_token_at_a_time(pattern):
    """As in generation: a single step uses other code than a chunk."""
    wanted, _ = run(pattern, TOKENS)
    carry, logits = None, []
    for t in range(TIME):
        step, carry = run(pattern, TOKENS[:, t : t + 1], carry)
        logits.append(step)
    assert_close(np.concatenate(logits, axis=1), wanted)


@every_pattern
def test_reset_is_a_fresh_start(pattern):
    """Rows are reset at different steps. After that, nothing depends on earlier steps, including the carry."""
    reset = NO_RESET.copy()
    reset[0, HALF] = reset[1, 0] = True
    _, dirty = run(pattern, OTHER)
    logits, carry = run(pattern, TOKENS, dirty, reset)
    fresh, fresh_carry = run(pattern, TOKENS[:, HALF:])
    assert_close(logits[0, HALF:], fresh[0])
    assert_close(jax.tree.map(lambda leaf: leaf[0], carry), jax.tree.map(lambda leaf: leaf[0], fresh_carry), 1e-4)
    whole, _ = run(pattern, TOKENS)
    assert_close(logits[1], whole[1])
    # The third row was not reset and continues.
    assert error(logits[2], whole[2]) > 1e-3


@every_pattern
def test_padding_changes_nothing(pattern):
    """Logits and carry of a padded row equal those of the short row, for any values in the padding."""
    lengths = np.array([HALF, TIME, HALF])
    logits, carry = run(pattern, TOKENS, lengths=lengths)
    short, short_carry = run(pattern, TOKENS[:, :HALF])
    whole, whole_carry = run(pattern, TOKENS)
    assert_close(logits[[0, 2], :HALF], short[jnp.array([0, 2])])
    assert_close(logits[1], whole[1])
    expected = jax.tree.map(lambda a, b: np.stack([a[0], b[1], a[2]]), short_carry, whole_carry)
    assert_close(carry, expected, limit=1e-4)
    other = np.where(np.arange(TIME) >= lengths[:, None], OTHER, TOKENS)
    _, same = run(pattern, other, lengths=lengths)
    assert_close(same, carry, limit=1e-6)


def test_numbers_in_the_padding_have_no_gradient():
    """For a model that reads real numbers, even if they are NaN. Parameters get no gradient from there either."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: reads_numbers(small("r"), 2)))
    given, counted = random_params(nnx.to_pure_dict(state)), np.arange(TIME) < np.array([[TIME], [HALF]])
    x = np.random.default_rng(1).standard_normal((2, TIME, 2)).astype(np.float32)

    def loss(params, x):
        logits, _ = nnx.merge(graphdef, params).unroll(x, lengths=counted.sum(axis=1))
        return jnp.sum(jnp.where(counted[..., None], logits, 0))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    clean, spoilt = (gradient(given, np.where(counted[..., None], x, np.float32(value))) for value in (0, np.nan))
    jax.tree.map(np.testing.assert_array_equal, spoilt, clean)
    assert not np.asarray(spoilt[1])[~counted].any()


@every_pattern
def test_order_of_batch(pattern):
    order = np.array([2, 0, 1])
    logits, carry = run(pattern, TOKENS)
    turned, turned_carry = run(pattern, TOKENS[order])
    assert_close(turned, np.asarray(logits)[order])
    assert_close(turned_carry, jax.tree.map(lambda leaf: np.asarray(leaf)[order], carry), limit=1e-4)


@pytest.mark.slow
@every_letter
def test_bfloat16(pattern):
    """Products are in bfloat16; logits and states are float32, except states that are inputs."""
    made = example(small(pattern, dtype="bfloat16"))
    # Flax's norms mix bfloat16 with float32, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        logits, carry = made.unroll(made.params, TOKENS)
    wanted, _ = run(pattern, TOKENS)
    assert logits.dtype == jnp.float32
    assert 1e-5 < error(logits, wanted) < 5e-2
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        names = {getattr(key, "name", None) for key in path}
        wanted = jnp.bfloat16 if names & {"conv", "k", "v"} else jnp.int32 if "count" in names else jnp.float32
        assert leaf.dtype == wanted, jax.tree_util.keystr(path)


@every_pattern
def test_dropout(pattern):
    """Active only with a key, and determined by it."""
    made, never = example(small(pattern, dropout=0.5)), example(small(pattern))
    without_key = made.unroll.lower(made.params, TOKENS).as_text()
    assert without_key == never.unroll.lower(never.params, TOKENS).as_text()
    first, again, other = (made.unroll(made.params, TOKENS, key=jax.random.key(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert error(first, run(pattern, TOKENS)[0]) > 0.1 and error(other, first) > 0.1


@every_letter
def test_gradients_reach_every_parameter(pattern):
    """Calling the model, as a loss does, returns the logits of `unroll`."""
    made = example(small(pattern))

    def loss(params):
        logits = made.model(params)(TOKENS)
        return jnp.sum(logits**2), logits

    gradients, logits = jax.jit(jax.grad(loss, has_aux=True))(made.params)
    assert_close(logits, run(pattern, TOKENS)[0])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        leaf = np.asarray(leaf)
        assert np.isfinite(leaf).all() and leaf.any(), jax.tree_util.keystr(path)


@pytest.mark.parametrize("pattern", ["m", "s"])
def test_without_convolution(pattern):
    block = {"m": "mlstm", "s": "slstm"}[pattern]
    made = example(small(pattern, **{block: dataclasses.replace({"m": MLSTM, "s": SLSTM}[pattern], conv_width=0)}))
    start = made.model().init_carry(BATCH)
    whole, carry = made.unroll(made.params, TOKENS, start)
    first, middle = made.unroll(made.params, TOKENS[:, :HALF], start)
    second, end = made.unroll(made.params, TOKENS[:, HALF:], middle)
    assert_close(np.concatenate([first, second], axis=1), whole)
    assert_close(end, carry, limit=1e-4)
