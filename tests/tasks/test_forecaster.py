"""The zero-shot forecaster: its loss and scores by hand, answers, one's own data, and that covariates help."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.data.series.zero_shot.series_set import Series, SeriesSet
from xlstm_jax.errors import UsageError
from xlstm_jax.models.patches import Scale
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.forecaster import LEVELS, ForecasterData, ForecasterTask
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

needs_data = needs_mirror("illness/ and others")


class Oracle:
    """A model whose quantiles are given numbers."""

    def __init__(self, quantiles):
        self.quantiles = quantiles

    def unroll(self, values, seen, *, origin_B, **_):
        class Carry:
            scale = Scale.of(values, seen & (jnp.arange(values.shape[1])[None] < origin_B[:, None]))

        return jnp.asarray(self.quantiles), Carry


@pytest.fixture
def task(monkeypatch):
    """Scored on two sets of short series."""
    config = ForecasterData(series=20, benchmark="", context=12, horizon=8, patch=4, batch_size=4, covariates=0)
    made = ForecasterTask(config)
    rng, none = np.random.default_rng(0), np.zeros((40, 0))
    sets = []
    for name, season, horizon, count in (("one", 3, 5, 2), ("two", 1, 8, 1)):
        values = 50 + rng.standard_normal((count, 40)).cumsum(axis=1)
        values[0, 33] = np.nan
        sets.append(SeriesSet(name, tuple(Series(row, none, 24, 30) for row in values), season, horizon))
    monkeypatch.setitem(made.__dict__, "_sets", tuple(sets))
    monkeypatch.setitem(made.__dict__, "splits", {"validation": "", "benchmark": "test"})
    return made


def test_scores_by_hand(task):
    """In float64, from the definitions: weighted quantile loss and MASE, those of the seasonal naive, quotients."""
    rng = np.random.default_rng(1)
    sums, loss, parts = {}, [], {"one": [], "two": []}
    inside = []
    for batch in task.batches("benchmark"):
        u = rng.standard_normal((4, 5, 4, 9)).astype(np.float32)
        outcome = task.forward(Oracle(u), batch, None, None)
        sums = added(sums, {"loss": outcome.loss, **outcome.ratios})
        for row, number in enumerate(batch.set_B):
            if number < 0:
                continue
            known = batch.known_BT[row]
            past = batch.values_BT[row, :12][known[:12]].astype(np.float64)
            mean, std = past.mean(), past.std()
            quantiles = np.sort(np.sinh(u[row, 2:4].reshape(8, 9).astype(np.float64)) * std + mean, axis=-1)
            truth, here = batch.values_BT[row, 12:].astype(np.float64), known[12:]
            plain = u[row, 2:4].reshape(8, 9)[here]
            loss += [*_pinball(np.arcsinh((truth[here] - mean) / std), plain)]
            inside += [*((truth >= quantiles[:, 0]) & (truth <= quantiles[:, -1]))[here]]
            parts[("one", "two")[number]].append(
                (truth[here], quantiles[here], batch.error_B[row], batch.reference_B[row])
            )
    result = metrics(task, sums)
    wanted = {"loss": np.mean(loss), "coverage": np.mean(inside)}
    for name, rows in parts.items():
        size = sum(np.abs(truth).sum() for truth, *_ in rows)
        below_Q = np.mean(np.concatenate([truth[:, None] <= quantiles for truth, quantiles, *_ in rows]), axis=0)
        np.testing.assert_allclose(task.calibration(sums)[name][1], below_Q, rtol=1e-6)
        wanted[f"{name}_wql"] = sum(_pinball(truth, quantiles).sum() for truth, quantiles, *_ in rows) / size
        wanted[f"{name}_mase"] = np.mean([np.abs(t - q[:, 4]).mean() / scale for t, q, scale, _ in rows])
        wanted[f"{name}_reference_wql"] = sum(naive * len(truth) for truth, _, _, naive in rows) / size
        wanted[f"{name}_reference_mase"] = np.mean([naive / scale for _, _, scale, naive in rows])
        for kind in ("wql", "mase"):
            wanted[f"{name}_relative_{kind}"] = wanted[f"{name}_{kind}"] / wanted[f"{name}_reference_{kind}"]
    for kind in ("wql", "mase"):
        wanted[f"relative_{kind}"] = math.sqrt(wanted[f"one_relative_{kind}"] * wanted[f"two_relative_{kind}"])
    assert result == pytest.approx(wanted, rel=1e-4)


def _pinball(truth, quantiles):
    error = truth[:, None] - quantiles
    level = np.array(LEVELS)
    return 2 * np.maximum(level * error, (level - 1) * error).mean(axis=1)


def test_a_perfect_forecast(task):
    """Costs nothing, and the seasonal naive forecast has the quotient 1 by definition."""
    batch = next(iter(task.batches("benchmark")))
    before = batch.seen_BT & (np.arange(20) < 12)
    mean = np.array([row[seen].mean() for row, seen in zip(batch.values_BT, before, strict=True)])[:, None]
    std = np.array([row[seen].std() for row, seen in zip(batch.values_BT, before, strict=True)])[:, None]
    u = np.arcsinh((batch.values_BT - mean) / std).reshape(4, 5, 4)
    shifted = np.concatenate([u[:, 1:], u[:, :1]], axis=1)
    outcome = task.forward(Oracle(np.repeat(shifted[..., None], 9, -1)), batch, None, None)
    assert float(outcome.loss.value) == pytest.approx(0, abs=1e-5)
    assert float(outcome.ratios["one_wql"].value) == pytest.approx(0, abs=1e-5)


def test_answers(rolled):
    """In the question's units, whatever its scale; quantiles increase; a longer question begins like a shorter one."""
    config = tiny_config("forecaster", None)
    config.model.pattern, config.model.features = "r", 8
    parts = build(config.to_dict())
    params, task = init_state(parts).params, parts.task
    wave = np.sin(np.arange(60) / 3)
    small, large = (
        task.read(json.dumps({"values": list(values), "horizon": 30})) for values in (wave, 1e9 + 1e3 * wave)
    )
    batch = task.collate([small, large])
    predicted = predict(parts, params, batch)
    one, other = (task.render(row, question) for row, question in zip(predicted, (small, large), strict=True))
    np.testing.assert_allclose(np.array(other["forecast"]) - 1e9, 1e3 * np.array(one["forecast"]), atol=1)
    values = np.array(list(one["quantiles"].values()))
    assert list(one["quantiles"]) == [f"{level:g}" for level in LEVELS] and (np.diff(values, axis=0) >= 0).all()
    assert one["forecast"] == one["quantiles"]["0.5"] and len(one["forecast"]) == 30
    short = task.read(json.dumps({"values": list(wave), "horizon": 3}))
    together = predict(parts, params, task.collate([short, small]))
    np.testing.assert_allclose(task.render(together[0], short)["forecast"], one["forecast"][:3], rtol=1e-3, atol=1e-4)


def test_a_figure(task):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    question = task.read("1 2 3 4 NA 6")
    answer = task.render(np.tile(np.arange(9.0), (question.horizon, 1)), question)
    axes = Figure().add_subplot()
    task.draw(axes, answer, question)
    assert len(axes.lines) == 3 and len(axes.collections) == 4


def write_csv(path, rows=400):
    rng = np.random.default_rng(0)
    hours = np.arange(rows)
    price = rng.standard_normal(rows)
    load = 100 + 10 * np.sin(2 * np.pi * hours / 24) + 5 * price + rng.standard_normal(rows)
    lines = [f"{l:.3f},{p:.3f},{h % 7}" for l, p, h in zip(load, price, hours, strict=True)]
    path.write_text("load,price,day\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_fine_tuning_on_ones_own_file(tmp_path, capsys):
    """From a trained run's parameters; the test part is scored once, and the loss is better than before."""
    config = tiny_config("forecaster", None)
    config.model.pattern, config.model.features = "r", 16
    config.train.steps = config.train.eval_every = 10
    assert train(config, tmp_path / "first") == 0
    config.train.init_from = str(tmp_path / "first")
    config.data.path, config.data.targets = str(write_csv(tmp_path / "load.csv")), "load"
    config.data.past, config.data.future, config.data.season, config.data.ahead = "day", "price", 24, 24
    config.train.steps, config.train.eval_every, config.optimizer.learning_rate = 60, 20, 1e-2
    assert train(config, tmp_path / "second") == 0
    last = [record for record in read_metrics(tmp_path / "second") if "test/relative_wql" in record]
    assert len(last) == 1 and last[0]["test/own_reference_mase"] > 0
    parts, params, _ = saved.load(tmp_path / "second")
    _, before, _ = saved.load(tmp_path / "first")
    scores = [evaluate(parts, p, "validation") for p in (before, params)]
    assert scores[1]["loss"] < 0.9 * scores[0]["loss"]
    assert scores[1]["relative_wql"] < scores[0]["relative_wql"]


@pytest.mark.slow
def test_a_true_covariate_helps(tmp_path):
    """The load depends on a price that is known ahead: with it, the loss is far below that without it."""
    losses = {}
    for name in ("price", ""):
        config = tiny_config("forecaster", None)
        config.data.path, config.data.targets = str(write_csv(tmp_path / "load.csv", 1000)), "load"
        config.data.future, config.data.season, config.data.ahead = name, 24, 24
        config.model.pattern, config.model.features = "r", 32
        config.train.steps, config.train.eval_every, config.optimizer.learning_rate = 200, 50, 5e-3
        assert train(config, tmp_path / f"run{name}") == 0
        parts, params, _ = saved.load(tmp_path / f"run{name}")
        losses[name] = evaluate(parts, params, "test")["own_wql"]
    assert losses["price"] < 0.7 * losses[""], losses


@needs_data
def test_benchmark_batches(rolled):
    """One form for all sets, and no value of a horizon is seen."""
    config = tiny_config("forecaster", None)
    config.data.benchmark = "illness,ett_h1"
    config.data.horizon, config.model.pattern = 96, "r"
    task = build(config.to_dict()).task
    batches = list(task.batches("benchmark"))
    assert {batch.values_BT.shape for batch in batches} == {(8, 192)} and task.held_out == ("benchmark",)
    assert not any(batch.seen_BT[:, 96:].any() for batch in batches)
    assert {int(n) for batch in batches for n in batch.set_B} == {0, 1, -1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 100}, "data.context 100 is not allowed; must be a multiple of data.patch 24"),
        ({"horizon": 30}, "data.horizon 30 is not allowed"),
        ({"name": "moon", "benchmark": ""}, "the data set 'moon' is unknown; known: m4_hourly"),
        ({"benchmark": "moon"}, "the data set 'moon' is unknown"),
        ({"name": "illness", "path": "x.csv"}, "data.name and data.path are both given; give one"),
        ({"path": "none.csv"}, "cannot read 'none.csv'"),
    ],
)
def test_data_that_cannot_be(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        ForecasterTask(ForecasterData(**changes))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be(tmp_path):
    path = str(write_csv(tmp_path / "load.csv"))
    for changes, message in (
        ({"targets": "lode"}, "there is no column 'lode'"),
        ({"ahead": 100}, "the validation part has 40 rows, too few for a horizon of 100; lower data.ahead"),
        ({"time": "load"}, "is not a date"),
    ):
        with pytest.raises(UsageError, match=message):
            ForecasterTask(ForecasterData(path=path, **changes))
