"""Stacks that read in both directions: each step sees all steps, and none sees padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import FEATURES, error, random_params, small
from xlstm_jax.errors import UsageError
from xlstm_jax.models import Stack
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig
from xlstm_jax.models.directions import turned

X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 9, FEATURES)), np.float32)
each_direction = pytest.mark.parametrize("directions", ["alternate", "both"])


def made(pattern, directions, **changes):
    graphdef, state = nnx.split(nnx.eval_shape(lambda: Stack(small(pattern, **changes), directions, rngs=nnx.Rngs(0))))
    params = random_params(nnx.to_pure_dict(state))
    return jax.jit(lambda x, lengths=None, **masks: nnx.merge(graphdef, params)(x, lengths=lengths, **masks)[0])


@each_direction
@pytest.mark.parametrize("pattern", ["ms", "xd"])
def test_every_step_sees_every_step(pattern, directions):
    run = made(pattern, directions)
    wanted = np.asarray(run(X))
    for at in (0, 8):
        changed = np.asarray(run(X.at[:, at].multiply(-1.0)))
        assert np.abs(changed - wanted).max(axis=(0, 2)).min() > 1e-4


@each_direction
def test_padding_changes_nothing(directions):
    run, lengths = made("ms", directions), jnp.array([9, 5])
    padded = np.asarray(run(X.at[1, 5:].set(jnp.nan), lengths))
    assert error(padded[1, :5], np.asarray(run(X[1:, :5]))[0]) < 1e-5
    assert error(padded[0], np.asarray(run(X))[0]) < 1e-5


def test_padding_gets_no_gradient_and_gives_none():
    """Neither for inputs nor for parameters, though a norm reads padding too."""
    encoder = nnx.eval_shape(lambda: Stack(small("r"), "both", rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(encoder)
    params, mask = random_params(nnx.to_pure_dict(state)), np.arange(9) < np.array([[9], [5]])

    def loss(params, x):
        return jnp.sum(jnp.sin(nnx.merge(graphdef, params)(x, mask=mask)[0]))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    clean, spoilt = (gradient(params, X.at[1, 5:].set(value)) for value in (0.0, jnp.nan))
    jax.tree.map(np.testing.assert_array_equal, spoilt, clean)
    assert not np.asarray(spoilt[1])[~mask].any()


@pytest.mark.parametrize("pattern", ["ms", "tnt", *(pytest.param(p, marks=pytest.mark.slow) for p in ("xrd", "gwg"))])
def test_documents_are_what_they_are_alone(pattern):
    """Three in a row, one with holes. The middle of three blocks reads backward; "both" has two blocks per layer."""
    run, x = made(pattern, "alternate" if len(pattern) > 2 else "both"), X[:1]
    documents = [[1, 2, 4], [5], [6, 7, 8]]  # steps; 0 and 3 are padding
    mask, reset = np.zeros((2, 1, 9), bool)
    mask[0, np.concatenate(documents)], reset[0, [3, 5, 6]] = True, True
    alone = np.zeros((3, 9, FEATURES), np.float32)
    for n, steps in enumerate(documents):
        alone[n, : len(steps)] = x[0, np.array(steps)]
    # Here, the step after a hole begins no document; if it is reset, [4] is a separate document.
    got = run(jnp.where(mask[..., None], x, jnp.nan), mask=mask, reset=reset & mask)
    wanted = run(alone, np.array([len(steps) for steps in documents]))
    for n, steps in enumerate(documents):
        assert error(got[0, np.array(steps)], wanted[n, : len(steps)]) < 1e-5
    assert not np.asarray(got)[~mask].any()
    told = run(x, mask=mask, reset=reset)
    assert error(told[0, 4], got[0, 4]) > 1e-3 and error(told[0, 5:], got[0, 5:]) < 1e-5


def test_turned():
    x = jnp.arange(8.0).reshape(2, 4, 1)
    np.testing.assert_array_equal(turned(x, None)[..., 0], [[3, 2, 1, 0], [7, 6, 5, 4]])
    np.testing.assert_array_equal(turned(x, np.array([3, 0]))[..., 0], [[2, 1, 0, 3], [4, 5, 6, 7]])


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "residual"), [("m", True), ("r", False)])
def test_both_is_the_sum_of_two_readings(pattern, residual):
    """A layer adds the branches of its two blocks. For blocks without residual connection, the outputs are summed."""
    plain = RecurrentBlockConfig()
    graphdef, state = nnx.split(
        nnx.eval_shape(lambda: Stack(small(pattern, final_norm=False, recurrent=plain), "both", rngs=nnx.Rngs(0)))
    )
    model = nnx.merge(graphdef, random_params(nnx.to_pure_dict(state)))
    both = model.blocks[0]
    forward, backward = both.forward(X, None)[0], both.backward.block(jnp.flip(X, 1), None)[0]
    assert error(model(X)[0], forward + jnp.flip(backward, 1) - (X if residual else 0)) < 1e-5


@each_direction
def test_scanned_and_rematerialised_it_is_the_same(directions):
    plain = made("rrrr", directions)
    scanned = made("rrrr", directions, scan_layers=True, remat="full")
    lengths = jnp.array([9, 5])
    assert np.isfinite(scanned(X, lengths)).all()
    assert plain(X, lengths).shape == scanned(X, lengths).shape


@each_direction
def test_there_is_no_carry(directions):
    stack = Stack(small("rr"), directions, rngs=nnx.Rngs(0))
    assert stack(X)[1] is None
    with pytest.raises(UsageError, match=f"directions '{directions}' has no carry"):
        stack.init_carry(2)
    with pytest.raises(UsageError, match="it reads whole sequences"):
        stack(X, (None, None))


def test_usage_errors():
    with pytest.raises(UsageError, match="directions 'left' is unknown; allowed: 'forward', 'alternate', 'both'"):
        Stack(small("ms"), "left", rngs=nnx.Rngs(0))
    stack = Stack(small("m"), "both", rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="mask and lengths are both given"):
        stack(X, lengths=np.array([9, 5]), mask=np.ones((2, 9), bool))
    with pytest.raises(UsageError, match=r"mask \[B,T\]: mask has T = 8, not 9"):
        stack(X, mask=np.ones((2, 8), bool))
    with pytest.raises(UsageError, match="'alternate' needs at least two blocks"):
        Stack(small("m"), "alternate", rngs=nnx.Rngs(0))
