"""Stacks of recurrent layers: depth, directions, residuals, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, FEATURES, IN, LENGTHS, RESET, TIME, X, called, close, differ, made
from xlstm_jax.nn import Directions, Recurrent

CELLS = ("gru", "lstm", "mlstm", "rnn", "slstm")


def single(cell, weights, x, *args):
    """One layer in one direction with the given weights."""
    graphdef, _ = made(cell, x.shape[-1])
    y, (carry,) = called(graphdef)({"layers": {0: weights}}, x, *args)
    return np.asarray(y), carry


def turned(x_BT):
    """Reverses each sequence within its length; padding stays in place."""
    x_BT = np.array(x_BT)
    for b, length in enumerate(LENGTHS):
        x_BT[b, :length] = x_BT[b, :length][::-1]
    return x_BT


@pytest.mark.parametrize("cell", CELLS)
def test_two_layers_are_two_by_hand(cell):
    """With resets and padding; the carry keeps its structure."""
    graphdef, params = made(cell, num_layers=2)
    first = nnx.merge(graphdef, params).init_carry(BATCH)
    run = called(graphdef)
    y, carry = run(params, X, first, LENGTHS, RESET)
    assert jax.tree.structure(carry) == jax.tree.structure(first) and len(carry) == 2
    by_hand, carries = X, []
    for layer in range(2):
        by_hand, after = single(cell, params["layers"][layer], by_hand, None, LENGTHS, RESET)
        carries.append(after)
    close((y, carry), (by_hand, tuple(carries)))
    assert y.shape == (BATCH, TIME, FEATURES) and not np.asarray(y)[1, 5:].any()
    assert differ(run(params, X, carry, LENGTHS, RESET)[0], y)  # the carry is used


@pytest.mark.parametrize("cell, merge", [("lstm", "concat"), ("gru", "sum"), ("mlstm", "mean")])
def test_both_directions_are_two_runs_by_hand(cell, merge):
    """Two layers. The second direction reads each sequence reversed within its length, and is reset when the reversed
    sequence passes to the previous document."""
    graphdef, params = made(cell, num_layers=2, bidirectional=True, merge=merge)
    run = called(graphdef)
    _, carry = run(params, X[:, ::-1], None, LENGTHS)  # any carry other than the initial one
    y, after = run(params, X, carry, LENGTHS, RESET)
    assert jax.tree.structure(after) == jax.tree.structure(carry)
    by_hand, carries = X, []
    for layer, both in enumerate(carry):
        ahead, forward = single(cell, params["layers"][layer], by_hand, (both.forward,), LENGTHS, RESET)
        weights, resets = params["backward_layers"][layer], turned(np.roll(RESET, -1, axis=1))
        back, backward = single(cell, weights, turned(by_hand), (both.backward,), LENGTHS, resets)
        back = turned(back)
        by_hand = {"concat": np.concatenate([ahead, back], -1), "sum": ahead + back, "mean": (ahead + back) / 2}[merge]
        carries.append(Directions(forward, backward))
    close((y, after), (by_hand, tuple(carries)))
    start = nnx.merge(graphdef, params).init_carry(BATCH)
    assert jax.tree.structure(start) == jax.tree.structure(carry)
    close(run(params, X, start, LENGTHS, RESET), run(params, X, None, LENGTHS, RESET), atol=0)
    assert differ(run(params, X, start, LENGTHS, RESET)[0], y)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("in_features", [IN, FEATURES])
def test_residual_is_added_where_widths_agree(in_features, bidirectional):
    """Of three layers, the first has a residual if inputs and outputs have equal width, the others always."""
    x = np.random.default_rng(3).standard_normal((BATCH, TIME, in_features)).astype(np.float32)
    options = {"bidirectional": bidirectional, "merge": "sum"}
    graphdef, params = made("rnn", in_features, num_layers=3, residual=True, **options)
    by_hand = x
    for layer in range(3):
        one, _ = made("rnn", by_hand.shape[-1], **options)
        weights = {part: {0: stack[layer]} for part, stack in params.items()}
        y, _ = called(one)(weights, by_hand)
        by_hand = y + by_hand if by_hand.shape == y.shape else y
    close(called(graphdef)(params, x)[0], by_hand)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "merge": "mean"}, {"residual": True}], ids=str)
def test_padding_changes_nothing_and_gives_zeros(options):
    """Not even NaNs in padding reach an output, the carry or a gradient."""
    x = np.random.default_rng(3).standard_normal((BATCH, TIME, FEATURES)).astype(np.float32)
    graphdef, params = made("lstm", FEATURES, num_layers=2, **options)

    @jax.jit
    def run(params, x):
        def loss(params):
            y, carry = nnx.merge(graphdef, params)(x, lengths=LENGTHS)
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((y, carry))), (y, carry)

        return jax.grad(loss, has_aux=True)(params)

    grads, (y, carry) = run(params, x)
    spoilt = x.copy()
    spoilt[1, 5:] = np.nan
    close(run(params, spoilt), (grads, (y, carry)), atol=0)
    assert np.asarray(y)[1, :5].all() and not np.asarray(y)[1, 5:].any()
    short, ends = called(graphdef)(params, x[1:, :5])
    close((y[1:, :5], jax.tree.map(lambda leaf: leaf[1:], carry)), (short, ends))


def test_split():
    """Two halves with the carry passed on equal the whole."""
    graphdef, params = made("lstm", num_layers=2)
    run = called(graphdef)
    y, carry = run(params, X)
    first, middle = run(params, X[:, :4])
    second, end = run(params, X[:, 4:], middle)
    close((jnp.concatenate([first, second], axis=1), end), (y, carry))


def test_a_reset_starts_all_layers_anew():
    """From the reset on, a sequence gives the same results as when run separately. The other row does not change."""
    graphdef, params = made("lstm", num_layers=2)
    run = called(graphdef)
    (y, carry), (plain, _) = run(params, X, None, None, RESET), run(params, X)
    fresh, ends = run(params, X[:, 3:])
    close((y[0, 3:], jax.tree.map(lambda leaf: leaf[0], carry)), (fresh[0], jax.tree.map(lambda leaf: leaf[0], ends)))
    close((y[0, :3], y[1]), (plain[0, :3], plain[1]))
    assert differ(y[0, 3:], plain[0, 3:])


def test_a_full_call():
    """A layer with all common arguments: output shapes, and positional arguments equal keyword arguments."""

    def build():
        rngs = nnx.Rngs(0)
        return Recurrent(
            "lstm", in_features=128, features=256, num_layers=2, bidirectional=True, merge="concat", dropout=0.2,
            dropout_kind="between_layers", residual=False, recurrent_init="orthogonal", forget_bias=1.0, rngs=rngs,
        )  # fmt: skip

    graphdef, params = nnx.split(nnx.eval_shape(build))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), nnx.to_pure_dict(params))

    @jax.jit
    def calls(params, x_BTD):
        layer = nnx.merge(graphdef, params)
        y, carry = layer(x_BTD, carry=None, lengths=None, reset=None)
        lengths, reset = jnp.array([3, 2]), jnp.zeros((2, 3), bool).at[0, 1].set(True)
        return (y, carry), layer(x_BTD, carry=carry, lengths=lengths, reset=reset), layer(x_BTD, carry, lengths, reset)

    (y, carry), named, placed = calls(params, jnp.ones((2, 3, 128)))
    assert y.shape == (2, 3, 512) and y.dtype == jnp.float32
    assert [type(both) for both in carry] == [Directions, Directions]
    assert {leaf.shape for leaf in jax.tree.leaves(carry)} == {(2, 256)}
    close(placed, named, atol=0)
    assert differ(named[0], y)
