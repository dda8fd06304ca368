"""Stacks of recurrent layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.nn import Recurrent
from xlstm_jax.ops.recurrence import scan

BATCH, TIME, IN, FEATURES = 2, 8, 3, 8
CELLS = ("gru", "lstm", "mlstm", "rnn", "slstm")
X = np.random.default_rng(0).standard_normal((BATCH, TIME, IN)).astype(np.float32)
LENGTHS = np.array([8, 5])
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, 3] = True


@pytest.fixture(autouse=True)
def rolled(monkeypatch):
    """One copy of a step in the compiled loop: less to compile."""
    monkeypatch.setattr(scan, "UNROLL", 1)


def made(cell, **options):
    """(graphdef, parameters), no parameter at the zero it may start from."""
    module = nnx.eval_shape(lambda: Recurrent(cell, IN, FEATURES, rngs=nnx.Rngs(0), **options))
    graphdef, state = nnx.split(module)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape), leaf.dtype), nnx.to_pure_dict(state)
    )
    return graphdef, params


def close(got, wanted, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol), got, wanted)


@pytest.mark.parametrize("cell", CELLS)
def test_two_layers_are_two_by_hand(cell):
    """With resets and padding, and a carry that comes back in the form it went in."""
    graphdef, params = made(cell, num_layers=2)

    @jax.jit
    def both(params, x):
        stack = nnx.merge(graphdef, params)
        first = stack.init_carry(BATCH)
        y, carry = stack(x, first, lengths=LENGTHS, reset=RESET)
        assert jax.tree.structure(carry) == jax.tree.structure(first) and len(carry) == 2
        again, last = stack(x, carry, lengths=LENGTHS, reset=RESET)
        by_hand, carries = x, []
        for config, weights in zip(stack.configs, stack.layers, strict=True):
            layer = Recurrent(cell, config.in_features, FEATURES, rngs=nnx.Rngs(0))
            for name in weights:
                layer.layers[0][name][...] = weights[name][...]
            by_hand, (after,) = layer(by_hand, lengths=LENGTHS, reset=RESET)
            carries.append(after)
        return (y, carry), (by_hand, tuple(carries)), (again, last)

    got, wanted, again = both(params, X)
    close(got, wanted)
    assert got[0].shape == (BATCH, TIME, FEATURES) and not np.asarray(got[0])[1, 5:].any()
    assert np.abs(again[0] - got[0]).max() > 1e-3  # the carry is read


def test_split():
    graphdef, params = made("lstm", num_layers=2)
    run = jax.jit(lambda params, x, carry: nnx.merge(graphdef, params)(x, carry))
    start = nnx.merge(graphdef, params).init_carry(BATCH)
    y, carry = run(params, X, start)
    first, middle = run(params, X[:, :4], start)
    second, end = run(params, X[:, 4:], middle)
    close((jnp.concatenate([first, second], axis=1), end), (y, carry))


def test_dropout_is_between_layers_and_follows_the_key():
    graphdef, params = made("rnn", num_layers=2, dropout=0.5)
    run = jax.jit(lambda params, x, key: nnx.merge(graphdef, params)(x, key=key)[0])
    plain, first, again, other = (run(params, X, key) for key in (None, *map(jax.random.key, (0, 0, 1))))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - plain).max() > 0.05 and np.abs(first - other).max() > 0.05
    # The top layer's outputs are not dropped: none of them is an exact zero.
    assert np.asarray(first).all()
    graphdef, params = made("rnn", num_layers=1, dropout=0.5)
    single = jax.jit(lambda params, x, key: nnx.merge(graphdef, params)(x, key=key)[0])
    np.testing.assert_array_equal(single(params, X, jax.random.key(0)), single(params, X, None))


def test_options_reach_the_cell():
    module = Recurrent("lstm", IN, FEATURES, rngs=nnx.Rngs(0), forget_bias=3.0)
    bias = np.asarray(module.layers[0]["b"][...])
    assert (bias[FEATURES : 2 * FEATURES] == 3).all() and (bias[:FEATURES] == 0).all()
    with pytest.raises(TypeError, match="forget_bais"):
        Recurrent("lstm", IN, FEATURES, rngs=nnx.Rngs(0), forget_bais=3.0)


def test_bfloat16_products_and_float32_carry():
    graphdef, params = made("lstm", dtype=jnp.bfloat16)
    run = jax.jit(lambda params, x: nnx.merge(graphdef, params)(x))
    # Strict promotion refuses even the question which dtype holds bfloat16 and float32.
    with jax.numpy_dtype_promotion("standard"):
        y, carry = run(params, X)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype("float32")}
    graphdef, params = made("lstm")
    wanted, _ = jax.jit(lambda params, x: nnx.merge(graphdef, params)(x))(params, X)
    assert 0 < np.abs(np.asarray(y, np.float32) - wanted).max() < 3e-2
