"""The forecaster: what is read and what is not, streaming, scales, covariates, any horizon."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.models.forecaster import ForecasterConfig, PatchForecaster
from xlstm_jax.models.patches import Residual, Scale, filled

PATCH, LEVELS = 4, (0.1, 0.5, 0.9)
ROWS, STEPS = 3, 24


def model(pattern="r", covariates=True, seed=0):
    """With covariates, their layers are not near 0, as if trained."""
    config = ForecasterConfig(features=8, pattern=pattern)
    made = PatchForecaster(config, PATCH, LEVELS, covariates=covariates, rngs=nnx.Rngs(seed))
    if covariates:
        for layer in (made.embedding.covariates, made.head.effects.filters):
            for linear in (layer.down, layer.skip):
                linear.kernel[...] = 0.3 * jax.random.normal(jax.random.key(1), linear.kernel.shape)
    return made


unroll = nnx.jit(lambda net, *args, **options: net.unroll(*args, **options))
forecast = nnx.jit(lambda net, *args, **options: net.forecast(*args, **options), static_argnums=3)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ROWS, STEPS)).cumsum(axis=1).astype(np.float32)
    return jnp.asarray(values), jnp.asarray(rng.random((ROWS, STEPS)) < 0.8)


def given(seed=2, steps=STEPS, count=2):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((ROWS, steps, count)).astype(np.float32)
    return jnp.asarray(values), jnp.asarray(rng.random((ROWS, steps, count)) < 0.9)


def test_scale():
    """Statistics of the values seen; a constant row has scale 1, and an empty one 0 and 1."""
    values = jnp.asarray([[1.0, 2, 6, 99], [5, 5, 5, 7], [1, 2, 3, 4]])
    seen = jnp.asarray([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    scale = Scale.of(values, seen)
    np.testing.assert_allclose(scale.mean_B1[:, 0], [3, 5, 0])
    np.testing.assert_allclose(scale.std_B1[:, 0], [np.sqrt(14 / 3), 1, 1], rtol=1e-6)
    np.testing.assert_allclose(scale.standardised(values)[0, 3], np.arcsinh(96 / np.sqrt(14 / 3)), rtol=1e-6)
    np.testing.assert_allclose(scale.restored(scale.standardised(values)), values, rtol=1e-5)


def test_missing_values_are_filled_forward():
    values, seen = jnp.asarray([[1.0, 9, 9, 4], [9, 9, 3, 9]]), jnp.asarray([[1, 0, 0, 1], [0, 0, 1, 0]], bool)
    whole, last = filled(values, seen, jnp.asarray([7.0, 8.0]))
    np.testing.assert_array_equal(whole, [[1, 1, 1, 4], [8, 8, 3, 3]])
    np.testing.assert_array_equal(last, [4, 3])


def test_residual_layer():
    layer, x = Residual(3, 5, 2, dtype=jnp.float32, rngs=nnx.Rngs(0)), np.array([0.5, -1, 2], np.float32)
    h = x @ layer.up.kernel[...] + layer.up.bias[...]
    wanted = x @ layer.skip.kernel[...] + (h / (1 + np.exp(-h))) @ layer.down.kernel[...]
    np.testing.assert_allclose(layer(x), wanted, rtol=1e-5)


def test_what_is_not_seen_does_not_matter(rows):
    """Not even NaN, neither forward nor in gradients; nor does what comes later."""
    values, seen = rows
    net = model()
    wanted, _ = unroll(net, values, seen)
    other = jnp.where(seen, values, jnp.nan)
    np.testing.assert_array_equal(unroll(net, other, seen)[0], wanted)
    graph, params = nnx.split(net)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(nnx.merge(graph, p).unroll(other, seen)[0])))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    origin = jnp.full(ROWS, 8)
    first, _ = unroll(net, values, seen, origin_B=origin)
    later, _ = unroll(net, values.at[:, 16:].add(5.0), seen, origin_B=origin)
    np.testing.assert_array_equal(first[:, :4], later[:, :4])
    assert not np.allclose(first[:, 4:], later[:, 4:])


@pytest.mark.parametrize(
    "pattern", ["s", "transformer", *(pytest.param(p, marks=pytest.mark.slow) for p in ("r", "ms"))]
)
def test_streaming_is_the_whole(rows, pattern):
    """The carry has the scale of the first call, the last value seen, and the states of the blocks."""
    values, seen = rows
    seen = seen.at[:, 14:18].set(False)  # the last value seen passes over the cut
    covariates, covariates_seen = given()
    net = model(pattern)
    whole, _ = unroll(
        net, values, seen, origin_B=jnp.full(ROWS, 8), covariates_BTC=covariates, covariates_seen_BTC=covariates_seen
    )
    pieces, carry = [], None
    for begin, end in ((0, 8), (8, 16), (16, 24)):
        ahead = slice(begin, end + PATCH)  # the covariates of the next patch are known
        piece, carry = unroll(
            net,
            values[:, begin:end],
            seen[:, begin:end],
            carry,
            origin_B=jnp.full(ROWS, 8) if carry is None else None,
            covariates_BTC=covariates[:, ahead],
            covariates_seen_BTC=covariates_seen[:, ahead],
        )
        pieces.append(piece)
    np.testing.assert_allclose(jnp.concatenate(pieces, axis=1)[:, :2], whole[:, :2], rtol=2e-4, atol=2e-4)
    if covariates_seen[:, :12].all():
        np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), whole, rtol=2e-4, atol=2e-4)


def test_streaming_without_covariates_is_the_whole(rows):
    values, seen = rows
    net = model("s")
    whole, _ = unroll(net, values, seen, origin_B=jnp.full(ROWS, 8))
    first, carry = unroll(net, values[:, :8], seen[:, :8])
    rest = []
    for begin in range(8, STEPS, PATCH):
        piece, carry = unroll(net, values[:, begin : begin + PATCH], seen[:, begin : begin + PATCH], carry)
        rest.append(piece)
    np.testing.assert_allclose(jnp.concatenate([first, *rest], axis=1), whole, rtol=2e-4, atol=2e-4)


def test_forecasts_have_the_units_of_the_values(rows):
    values, seen = rows
    net = model()
    predicted = forecast(net, values, seen, 10)
    assert predicted.shape == (ROWS, 10, 3) and (np.diff(predicted, axis=-1) >= 0).all()
    np.testing.assert_allclose(forecast(net, 50 + 3 * values, seen, 10), 50 + 3 * predicted, rtol=1e-4, atol=1e-3)


def test_any_horizon_and_any_length(rows):
    """A longer horizon begins like a shorter one; unseen steps in front change nothing but the phase of patches."""
    values, seen = rows
    net = model()
    longest = forecast(net, values, seen, 30)
    for horizon in (1, 5):
        np.testing.assert_allclose(forecast(net, values, seen, horizon), longest[:, :horizon], rtol=1e-5, atol=1e-5)
    short = forecast(net, values[:, 3:], seen[:, 3:], 30)
    hidden = forecast(net, values, seen & (jnp.arange(STEPS)[None] >= 3), 30)
    np.testing.assert_allclose(short, hidden, rtol=1e-5, atol=1e-5)


def test_covariates(rows):
    """Those of which nothing is seen are as none; values not seen do not matter; their order neither."""
    values, seen = rows
    net, without = model(), model(covariates=False)
    covariates, covariates_seen = given(steps=STEPS + 8)
    plain = forecast(net, values, seen, 8)
    options = {"covariates_BSC": covariates, "covariates_seen_BSC": covariates_seen}
    nothing = options | {"covariates_seen_BSC": jnp.zeros_like(covariates_seen)}
    np.testing.assert_array_equal(plain, forecast(net, values, seen, 8, **nothing))
    used = forecast(net, values, seen, 8, **options)
    assert not np.allclose(used, plain, atol=1e-3)
    changed = jnp.where(covariates_seen, covariates, jnp.nan)
    np.testing.assert_array_equal(forecast(net, values, seen, 8, **options | {"covariates_BSC": changed}), used)
    swapped = {name: part[..., ::-1] for name, part in options.items()}
    np.testing.assert_allclose(forecast(net, values, seen, 8, **swapped), used, rtol=1e-4, atol=1e-4)
    alone = forecast(without, values, seen, 8)
    np.testing.assert_array_equal(forecast(without, values, seen, 8, **options), alone)


def test_covariates_that_are_not_known_ahead(rows):
    """Their values in the next patch are not read, even if they are given."""
    values, seen = rows
    net = model()
    covariates, covariates_seen = given()
    options = {"covariates_seen_BTC": covariates_seen, "origin_B": jnp.full(ROWS, 8)}
    changed = covariates.at[:, 16:].add(1.0)
    for ahead, same in ((True, 3), (False, 4)):
        future = jnp.full((ROWS, 2), ahead)
        one, other = (
            unroll(net, values, seen, covariates_BTC=part, future_BC=future, **options)[0]
            for part in (covariates, changed)
        )
        np.testing.assert_array_equal(one[:, :same], other[:, :same])
        assert not np.allclose(one[:, same], other[:, same])
