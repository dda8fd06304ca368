"""Measures of free runs and of volatility: the numbers that scoring gives, a figure, and the package `arch`."""

import builtins

import numpy as np
import pytest

from experiments.measures.free_run import error_growth, free_run
from experiments.measures.volatility import forecasts, peer_forecasts, qlike, volatility
from experiments.programs.figures import draw_measured
from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.step import init_state


def made(task: str, path):
    """A small model, as it is initialised, without the pattern of the config."""
    config = tiny_config(task, path)
    config.model.pattern, config.model.features = "r", 8
    if task == "chaos":
        config.data.evaluation_batches = 4
    parts = build(config.to_dict())
    return parts, init_state(parts).params


@pytest.fixture(scope="module")
def series(tmp_path_factory, rolled):
    return made("chaos", tmp_path_factory.mktemp("chaos"))


@pytest.fixture(scope="module")
def prices(tmp_path_factory, rolled):
    return made("volatility", tmp_path_factory.mktemp("volatility"))


def test_error_growth_is_what_is_scored(series):
    result = evaluate(*series, "free")
    (curve,) = error_growth(*series).curves
    assert list(curve.x) == [*range(1, 101)]
    assert curve.y[83] == pytest.approx(result["nrmse_84"], rel=1e-4)
    doubled = np.array(curve.y) > 2 * curve.y[0]
    assert result["doubling"] == (doubled.argmax() + 1 if doubled.any() else 100)


def test_a_free_run_and_the_truth(series, tmp_path):
    """One of the rows, in the units of Mackey-Glass, and drawn."""
    parts, _ = series
    measured = free_run(*series)
    truth, run = (np.array(curve.y) for curve in measured.curves)
    assert [curve.name for curve in measured.curves] == ["truth", "free run"] and measured.y == "x"
    future_BK = next(iter(parts.task.batches("free"))).future_BKD[..., 0]
    wanted_BK = parts.task.codec.scaling.restored(future_BK[..., None])[..., 0]
    assert np.isclose(wanted_BK, truth, rtol=1e-5).all(axis=1).any()
    assert truth.min() > 0.1 and truth.max() < 1.6 and abs(run[0] - truth[0]) < 0.1
    draw_measured(measured, "a run", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_forecasts_are_those_that_are_scored(prices):
    parts, params = prices
    log_N = forecasts(parts, params)
    assert len(log_N) == parts.task.parts["test"].stop - parts.task.parts["test"].start
    assert qlike(parts.task, log_N).mean() == pytest.approx(evaluate(parts, params, "test")["loss"], rel=1e-5)


def test_volatility_without_arch(prices, monkeypatch, capsys):
    """The model alone is shown, and why."""
    there = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "arch":
            raise ImportError("No module named 'arch'")
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (curve,) = volatility(*prices).curves
    assert curve.name.startswith("model, QLIKE ")
    assert (
        "compared with no other package: No module named 'arch'; pip install -e '.[tasks]'" in capsys.readouterr().err
    )
    codec, log_N = prices[0].task.codec, forecasts(*prices)
    np.testing.assert_allclose(curve.y, np.sqrt(252) * codec.std * np.exp(log_N / 2), rtol=1e-6)
    assert 2011.6 < curve.x[0] < 2011.7 and 2013.6 < curve.x[-1] < 2013.7 and np.diff(curve.x).max() < 0.01


@pytest.mark.peers
@pytest.mark.slow
def test_volatility_against_arch(prices):
    """Fitted to the simulated GARCH, it finds the parameters; each forecast follows from the day before it."""
    pytest.importorskip("arch.univariate", reason="arch is not installed (pip install -e '.[tasks]')")
    task = prices[0].task
    found = peer_forecasts(task)
    returns_N = task.codec.features(task.prices.prices_NP)[:, 0]
    assert [*found] == ["GARCH(1,1)", "GJR-GARCH(1,1)"] and {len(one) for one in found.values()} == {len(returns_N) - 1}
    variance_S = np.exp(found["GARCH(1,1)"])
    columns = np.stack([np.ones(len(variance_S) - 1), returns_N[1:-1] ** 2, variance_S[:-1]], axis=1)
    omega, alpha, beta = np.linalg.lstsq(columns, variance_S[1:], rcond=None)[0]
    np.testing.assert_allclose(columns @ [omega, alpha, beta], variance_S[1:], rtol=1e-5)
    assert alpha == pytest.approx(0.1, abs=0.03) and beta == pytest.approx(0.88, abs=0.04)
    names = [curve.name for curve in volatility(*prices).curves]
    assert len(names) == 3 and "GJR-GARCH(1,1) of arch, QLIKE" in names[2] and "(model: " in names[1]


def test_measures_of_other_tasks(series, prices):
    with pytest.raises(UsageError, match=r"free_run and error_growth are for runs of configs/chaos\.py"):
        free_run(*prices)
    with pytest.raises(UsageError, match=r"volatility is for runs of configs/volatility\.py"):
        volatility(*series)
