"""Predicted probabilities against frequencies: by hand for quantiles and risks, refused where there are none."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.measures.calibration import calibration
from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import Ratio
from xlstm_jax.tasks.clinical import TENTHS, Clinical
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import sums_over
from xlstm_jax.train.step import init_state


def made(task, path="", **data):
    config = tiny_config(task, path)
    config.model.pattern, config.model.features = "r", 8
    config.data.update(data)
    parts = build(config.to_dict())
    return parts, init_state(parts).params


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "noise.csv"
    values = np.random.default_rng(0).standard_normal(400)
    path.write_text("x\n" + "\n".join(map(str, values)), encoding="utf-8")
    return path


def test_shares_of_values_up_to_each_quantile(table):
    """Of a model that forecasts the same quantiles everywhere, by counting."""
    parts, params = made("forecasting", path=str(table), targets="", loss="quantile", quantiles="0.1,0.5,0.9")
    task, quantiles_Q = parts.task, np.array([-1, 0, 1], np.float32)

    def same(past_BTF, known_BSK, **_):
        return jax.numpy.broadcast_to(quantiles_Q, (len(past_BTF), task.config.horizon, 1, 3))

    truths, found = [], None
    for batch in task.batches("test"):
        ratios = task.forward(same, batch, None, None).ratios
        found = ratios if found is None else jax.tree.map(np.add, found, ratios)
        truths.append(batch.future_BHC[batch.scored_BHC])
    below_Q = np.mean(np.concatenate(truths)[:, None] <= quantiles_Q, axis=0)
    levels_Q, shares_Q = task.calibration(found)["quantiles"]
    np.testing.assert_allclose(levels_Q, [0.1, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(shares_Q, below_Q, rtol=1e-6)
    curves = calibration(parts, params).curves
    assert [curve.name for curve in curves] == ["quantiles", "calibrated"]
    assert list(curves[0].y) == pytest.approx(sums_over(parts, params, "test")["below_Q"].value.tolist())


def test_without_quantiles_it_is_refused(table):
    with pytest.raises(UsageError, match=r"predicts no quantiles; train one with data\.loss=quantile"):
        calibration(*made("forecasting", path=str(table), targets=""))
    with pytest.raises(UsageError, match="AddingProblem predicts no probabilities"):
        calibration(*made("adding", long_length=0))


def test_risks_of_tenths(monkeypatch):
    """Stays by increasing risk, in ten groups; stays of other splits do not count."""
    rng = np.random.default_rng(0)
    logit_N, count_N, died_N = rng.standard_normal(60), (np.arange(60) % 3 == 0).astype(float), rng.random(60) < 0.4
    task = object.__new__(Clinical)
    monkeypatch.setattr(Clinical, "_stays", SimpleNamespace(died_N=died_N))
    test = np.flatnonzero(count_N)
    risk_G, share_G = task.calibration({"logit": Ratio(logit_N * count_N, count_N)})["risk of death"]
    tenths = np.array_split(test[np.argsort(logit_N[test])], TENTHS)
    np.testing.assert_allclose(share_G, [died_N[tenth].mean() for tenth in tenths])
    np.testing.assert_allclose(risk_G, [(1 / (1 + np.exp(-logit_N[tenth]))).mean() for tenth in tenths])
    assert (np.diff(risk_G) > 0).all()
