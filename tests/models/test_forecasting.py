"""Forecasting models: equations against NumPy, heads that read back their forecasts, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models.decomposition import DLinear, XLSTMTime, decomposed
from xlstm_jax.models.es_rnn import SEASONS, Smoothed
from xlstm_jax.models.forecasting import ForecastConfig, SeasonalNaive, Sizes
from xlstm_jax.models.stack_forecaster import StackForecaster

RNG = np.random.default_rng(0)
SIZES = Sizes(context=12, horizon=6, targets=2, read=3, known=1, quantiles=3, season=4)
PAST, KNOWN, FUTURE = (
    jnp.asarray(RNG.standard_normal(shape), jnp.float32) for shape in ((5, 12, 3), (5, 18, 1), (5, 6, 2))
)


def config(**options):
    return ForecastConfig(**{"features": 8, "pattern": "r", "patch": 4, **options})


def stack(sizes=SIZES, **options):
    return StackForecaster(config(**options), sizes, rngs=nnx.Rngs(0))


forecast = nnx.jit(lambda model, *args, **options: model(*args, **options))


def test_decomposition_is_the_moving_average():
    x_BTC = RNG.standard_normal((2, 9, 2)).astype(np.float32)
    trend_BTC, rest_BTC = decomposed(jnp.asarray(x_BTC), 5)
    ends = np.concatenate([x_BTC[:, :1]] * 2 + [x_BTC] + [x_BTC[:, -1:]] * 2, axis=1)
    wanted = np.stack([ends[:, t : t + 5].mean(1) for t in range(9)], axis=1)
    np.testing.assert_allclose(trend_BTC, wanted, atol=1e-6)
    np.testing.assert_allclose(trend_BTC + rest_BTC, x_BTC, atol=1e-6)


def test_seasonal_naive_is_the_last_season():
    model = SeasonalNaive(config(kind="naive"), SIZES)
    forecast = model(PAST)[..., 1]
    np.testing.assert_array_equal(forecast, PAST[:, [8, 9, 10, 11, 8, 9], :2])
    with pytest.raises(UsageError, match=r"a season of 13 steps is longer than data\.context 12"):
        SeasonalNaive(config(kind="naive"), SIZES._replace(season=13))(PAST)


def test_dlinear_by_hand():
    sizes = SIZES._replace(read=2, known=0, quantiles=1)
    model = DLinear(config(kind="linear", moving_average=3, instance_norm=False), sizes, rngs=nnx.Rngs(0))
    trend_BTC, rest_BTC = decomposed(PAST[..., :2], 3)
    wanted = jnp.einsum("BTC,TH->BHC", trend_BTC, model.trend.kernel[...])
    wanted += jnp.einsum("BTC,TH->BHC", rest_BTC, model.rest.kernel[...]) + model.trend.bias[...][None, :, None]
    np.testing.assert_allclose(model(PAST[..., :2])[..., 0], wanted, atol=1e-5)
    for what, changed in (("odd", {"moving_average": 4}), ("reads no covariates", {})):
        with pytest.raises(UsageError, match=what):
            DLinear(config(kind="linear", **changed), SIZES if not changed else sizes, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("channels", ["independent", "mixed"])
@pytest.mark.parametrize("head", ["direct", "recursive", "seq2seq"])
def test_heads(head, channels):
    """Shapes; a recursive head given its own forecasts repeats them; columns that are known ahead matter."""
    model = stack(head=head, channels=channels, instance_norm=False)
    free = forecast(model, PAST, KNOWN)
    assert free.shape == (5, 6, 2, 3)
    np.testing.assert_allclose(forecast(model, PAST, KNOWN, future_BHC=free[..., 1]), free, atol=1e-5)
    if head != "direct":
        assert np.abs(forecast(model, PAST, KNOWN, future_BHC=FUTURE)[:, 4:] - free[:, 4:]).max() > 1e-4
    later = KNOWN.at[:, 12:16].add(1)
    assert np.abs(forecast(model, PAST, later) - free).max() > 1e-4


def test_a_recursive_head_is_causal():
    """A forecast given the truth depends on no later truth."""
    for head in ("recursive", "seq2seq"):
        model = stack(head=head, channels="mixed", patch=2, instance_norm=False)
        second = jax.grad(lambda future, model=model: model(PAST, KNOWN, future_BHC=future)[:, 2:4].sum())
        gradient = jax.jit(second)(FUTURE)
        assert (gradient[:, 2:] == 0).all() and (np.abs(gradient[:, :2]) > 0).any()


def test_columns_are_forecast_apart_unless_mixed():
    for channels, apart in (("independent", True), ("mixed", False)):
        model = stack(SIZES._replace(read=2, known=0), channels=channels)
        gradient = jax.jit(jax.grad(lambda past, model=model: model(past)[..., 0, :].sum()))(PAST[..., :2])
        assert bool((gradient[..., 1] == 0).all()) is apart


@pytest.mark.parametrize("kind", ["stack", "linear", "xlstm_time"])
def test_instance_norm_follows_level_and_scale(kind):
    """f(a x + b) = a f(x) + b."""
    sizes = SIZES._replace(read=2, known=0)
    model = {"stack": StackForecaster, "linear": DLinear, "xlstm_time": XLSTMTime}[kind](
        config(kind=kind, linear=True), sizes, rngs=nnx.Rngs(0)
    )
    past = PAST[..., :2] + jnp.float32(0.5)
    np.testing.assert_allclose(model(3 * past + 7), 3 * model(past) + 7, rtol=2e-3, atol=2e-3)


def test_the_linear_map_starts_as_the_last_season():
    model = stack(SIZES._replace(read=2, known=0), linear=True)
    model.head.kernel[...] *= 0
    past = PAST[..., :2]
    np.testing.assert_allclose(model(past)[..., 0], past[:, [8, 9, 10, 11, 8, 9]], atol=1e-4)


def test_a_patch_longer_than_the_context_is_refused():
    with pytest.raises(UsageError, match=r"model\.patch 13 is more than data\.context 12"):
        stack(patch=13)


def test_a_head_is_for_stacks():
    with pytest.raises(UsageError, match=r"model\.head 'seq2seq' is for model\.kind 'stack', not 'linear'"):
        ForecastConfig(kind="linear", head="seq2seq")


def smoothed_by_hand(y_T, start, logits, days):
    """The equations of `Smoothed` for one series, float64."""
    a, b, c = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    s = {t: days[t % SEASONS[0]] for t in range(SEASONS[0])}
    w = dict.fromkeys(range(SEASONS[1]), 1.0)
    first = max(start, 0)
    s = {first + k: days[(first + k) % SEASONS[0]] for k in range(SEASONS[0])}
    w = {first + k: 1.0 for k in range(SEASONS[1])}
    level = None
    for t in range(first, start + len(y_T)):
        y = y_T[t - start]
        before = y / (s[t] * w[t]) if level is None else level
        level = a * y / (s[t] * w[t]) + (1 - a) * before
        s[t + SEASONS[0]] = b * y / (level * w[t]) + (1 - b) * s[t]
        w[t + SEASONS[1]] = c * y / (level * s[t]) + (1 - c) * w[t]
    end = start + len(y_T)
    day = [s[end + k] for k in range(SEASONS[0])]
    return level, [s[t] * w[t] for t in range(first, end)], [day[k % SEASONS[0]] * w[end + k] for k in range(48)]


def test_smoothing_by_hand():
    """Of a whole series, of one that starts within the window, and of one that was not trained on."""
    days = RNG.uniform(0.5, 1.5, (2, 24))
    model = Smoothed(days)
    model.logits[...] = jnp.asarray(RNG.standard_normal((2, 3)), jnp.float32)
    past = RNG.uniform(1, 9, (3, 60)).astype(np.float32)
    past[1, :20] = 0
    start = np.array([31, -20, 5], np.int32)
    level_B, factors_BS = model(jnp.asarray(past), jnp.asarray(start), jnp.array([0, 1, 7]))
    logits = [*model.logits[...], model.logits[...].mean(0)]
    for row, initial in enumerate((days[0], days[1], np.ones(24))):
        level, here, ahead = smoothed_by_hand(past[row].astype(np.float64), int(start[row]), logits[row], initial)
        np.testing.assert_allclose(level_B[row], level, rtol=1e-4)
        np.testing.assert_allclose(factors_BS[row, 60 - len(here) : 60], here, rtol=1e-4)
        np.testing.assert_allclose(factors_BS[row, 60:108], ahead, rtol=1e-4)
