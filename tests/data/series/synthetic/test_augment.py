"""What befalls series: crops and mixtures, missing values, covariates that act."""

import numpy as np
import pytest

from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.synthetic import augment
from xlstm_jax.data.series.synthetic.augment import drawn, observed
from xlstm_jax.data.series.synthetic.covariates import with_effects

BANK = np.random.default_rng(0).standard_normal((5, 100)).astype(np.float32)


@pytest.fixture
def plain(monkeypatch):
    """Neither mixtures nor changes."""
    monkeypatch.setattr(augment, "MIXED", (1.0,))
    for name in ("STRETCHED", "FLIPPED", "REVERSED", "SWELLING", "SHIFTED", "SPIKED", "BURSTING", "LIMITED", "ROUNDED"):
        monkeypatch.setattr(augment, name, 0.0)


def standardised(values):
    return (values - values.mean()) / (values.std() + 1e-3)


def test_crops(plain):
    """Without changes every row is a stretch of a series, standardised."""
    rows = drawn(np.random.default_rng(1), BANK, 20, 60)
    stretches = [standardised(series[begin : begin + 60].astype(np.float64)) for series in BANK for begin in range(41)]
    for row in rows:
        assert min(np.abs(stretch - row).max() for stretch in stretches) < 1e-6


def test_slow_crops(plain, monkeypatch):
    """A straight line is one at any speed."""
    monkeypatch.setattr(augment, "STRETCHED", 1.0)
    rows = drawn(np.random.default_rng(1), np.arange(100, dtype=np.float32)[None], 20, 60)
    np.testing.assert_allclose(rows, np.tile(standardised(np.arange(60.0)), (20, 1)), atol=2e-3)


def test_rows_follow_the_generator_and_are_finite():
    rows = drawn(generator(0, 1), BANK, 200, 60)
    assert np.isfinite(rows).all() and rows.std() > 0.5
    np.testing.assert_array_equal(rows, drawn(generator(0, 1), BANK, 200, 60))


def test_missing_values():
    """About the shares that are meant: late beginnings, gaps, holes."""
    known = observed(np.random.default_rng(0), 2000, 80)
    late = ~known[:, 0]
    assert 0.25 < late.mean() < 0.5 and 0.7 < known.mean() < 0.95
    assert (known.all(axis=1)).mean() > 0.4
    assert known[:, -1].mean() > 0.9  # late series end with the others


def test_covariates_act():
    """What they add is explained by them, with a lag of up to 12 steps, better than by noise; some add nothing."""
    given = with_effects(np.random.default_rng(0), BANK, 60, 80, 1)
    assert given.values_BTC.shape == (60, 80, 1) and given.future_BC.dtype == bool
    idle = np.ptp(given.effect_BT, axis=1) < 1e-9
    assert 0 < idle.sum() < 30
    explained = []
    for effect, values in zip(given.effect_BT[~idle], given.values_BTC[~idle, :, 0], strict=True):
        best = 0.0
        for lag in range(13):
            x = values[: len(values) - lag]
            basis = np.stack([np.ones_like(x), x, x**2, np.tanh(x), np.maximum(x, np.median(values))], axis=1)
            y = effect[lag:]
            rest = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
            best = max(best, 1 - rest.var() / max(y.var(), 1e-12))
        explained.append(best)
    assert np.median(explained) > 0.99
