"""Reference detectors against step-by-step simulations and scikit-learn."""

import math

import numpy as np
from scipy import stats
from sklearn.decomposition import PCA

from xlstm_jax.data.series.anomalies import control_charts
from xlstm_jax.data.series.anomalies.control_charts import t2_q, windowed_gaussian


def test_windowed_gaussian_step_by_step(monkeypatch):
    """A window of 40 that moves on by 7: the values read since then wait."""
    monkeypatch.setattr(control_charts, "MEMORY", 40)
    monkeypatch.setattr(control_charts, "STEP", 7)
    x_N = np.random.default_rng(0).standard_normal(150).cumsum()
    window, waiting, wanted = [], [], [0.0]
    for row, x in enumerate(x_N):
        if row:
            mean, std = np.mean(window), np.std(window) or 1e-6
            wanted.append(1 - 0.5 * math.erfc(abs(x - mean) / std / math.sqrt(2)))
        if len(window) < 40:
            window.append(x)
        else:
            waiting.append(x)
            if len(waiting) == 7:
                window, waiting = window[7:] + waiting, []
    np.testing.assert_allclose(windowed_gaussian(x_N), wanted, atol=2e-12)


def test_t2_and_q_against_scikit_learn():
    """Both statistics relative to their limits, a channel that stands still left out."""
    rng = np.random.default_rng(1)
    x_NC = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 5)) + 3
    x_NC[250:] += [20, 0, -30, 0, 0]
    start = x_NC[:200]
    z_NC = (x_NC - start.mean(0)) / start.std(0)
    pca = PCA(0.85).fit(z_NC[:200])
    k = pca.n_components_
    assert 0 < k < 5
    t2_N = (pca.transform(z_NC) ** 2 / pca.explained_variance_).sum(1)
    q_N = ((z_NC - pca.inverse_transform(pca.transform(z_NC))) ** 2).sum(1)
    rest = np.linalg.eigvalsh(np.cov(z_NC[:200].T))[: 5 - k]
    one, two, three = (np.sum(rest**power) for power in (1, 2, 3))
    h = 1 - 2 * one * three / (3 * two**2)
    inner = 1 + stats.norm.ppf(0.999) * h * math.sqrt(2 * two) / one + two * h * (h - 1) / one**2
    limits = k * (200**2 - 1) / (200 * (200 - k)) * stats.f.ppf(0.999, k, 200 - k), one * inner ** (1 / h)
    median = [[np.median(s[max(0, t - 4) : t + 1]) for t in range(300)] for s in (t2_N, q_N)]
    wanted_N = np.maximum(*(np.array(m) / limit for m, limit in zip(median, limits, strict=True)))
    still_NC = np.insert(x_NC, 2, 7.0, axis=1)
    np.testing.assert_allclose(t2_q(still_NC, 200)[4:], wanted_N[4:], rtol=1e-8)
    assert (t2_q(x_NC, 200)[:4] == 0).all() and (t2_q(x_NC, 200)[256:] > 1).mean() > 0.5
