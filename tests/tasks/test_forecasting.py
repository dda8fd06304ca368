"""Forecasting: metrics by hand, a file of one's own, forecasts as answers, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.data.series.forecasts import m4
from xlstm_jax.data.series.forecasts.windows import Windows
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.forecasting import Forecasting, ForecastingConfig
from xlstm_jax.tasks.m4 import M4, M4Config
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.step import init_state

needs_data = needs_mirror("ett/ and m4/")
RNG = np.random.default_rng(0)


@pytest.fixture
def table(tmp_path):
    """120 hours: a wave of a day, another one, noise."""
    hours = np.arange(120)
    rows = [
        f"2020-01-{1 + hour // 24:02} {hour % 24:02}:00,{np.sin(hour / 4):.4f},{20 + 5 * np.cos(hour / 4):.4f},{x:.3f}"
        for hour, x in zip(hours, RNG.standard_normal(120), strict=True)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["date,load,heat,wind", *rows]) + "\n", encoding="utf-8")
    return path


def own(file, **data):
    options = {"path": str(file), "time": "date", "context": 16, "horizon": 8, "batch_size": 4}
    return ForecastingConfig(**{**options, **data})


class Table:
    """A model that forecasts given numbers."""

    def __init__(self, outputs):
        self.outputs = jnp.asarray(outputs)

    def __call__(self, past, known=None, *, future_BHC=None, key=None):
        return self.outputs


def test_metrics_by_hand(table):
    """In standardised units, in the data's own, and of quantiles; what is missing does not count."""
    task = Forecasting(own(table, targets="load,heat", loss="quantile", quantiles="0.2,0.5,0.9", horizon=3))
    future = RNG.standard_normal((4, 3, 2)).astype(np.float32)
    outputs = np.sort(RNG.standard_normal((4, 3, 2, 3)), axis=-1).astype(np.float32)
    scored = RNG.random((4, 3, 2)) < 0.7
    batch = Windows(np.zeros((4, 16, 2), np.float32), None, future, scored)
    outcome = task.forward(Table(outputs), batch, None, None)
    result = metrics(task, added({}, {"loss": outcome.loss, **outcome.ratios}))
    std, mean = task.codec.scaling.std_C[:2], task.codec.scaling.mean_C[:2]
    error, levels = future[..., None] - outputs, np.array([0.2, 0.5, 0.9])
    pinball = np.maximum(levels * error, (levels - 1) * error)
    units = error[..., 1] * std
    wanted = {
        "loss": 2 * pinball.mean(-1)[scored].mean(),
        "mse": (error[..., 1] ** 2)[scored].mean(),
        "mae": np.abs(error[..., 1])[scored].mean(),
        "rmse": np.sqrt((units**2)[scored].mean()),
        "mae_units": np.abs(units)[scored].mean(),
        "wql": 2 * (pinball.mean(-1) * std)[scored].sum() / np.abs(future * std + mean)[scored].sum(),
        "coverage": ((future >= outputs[..., 0]) & (future <= outputs[..., 2]))[scored].mean(),
    }
    assert result == pytest.approx(wanted, rel=1e-4)


@needs_data
def test_repeating_the_last_day_of_ett_h1():
    """MSE 0.512, MAE 0.433 on the test part, 96 hours ahead."""
    task = Forecasting(ForecastingConfig(context=24, batch_size=512))
    total = np.zeros(3)
    for batch in task.batches("test"):
        naive = np.tile(batch.past_BTF, (1, 4, 1))
        error = (batch.future_BHC - naive)[batch.scored_BHC]
        total += (error**2).sum(), np.abs(error).sum(), error.size
    assert total[:2] / total[2] == pytest.approx([0.512, 0.433], abs=6e-4)
    assert total[2] == 2785 * 96 * 7


def test_training_ends_where_the_split_says(table):
    """Neither windows nor scaling of the training part depend on what follows it."""
    config = own(table, split="60,30,30", targets="load", covariates="wind", calendar=True)
    before = Forecasting(config)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:61], *(line[:16] + ",9,9,9" for line in lines[61:])]) + "\n")
    after = Forecasting(config)
    assert before.codec.to_json() == after.codec.to_json()
    for one, other, _ in zip(before.train_batches(1), after.train_batches(1), range(20), strict=False):
        for name in ("past_BTF", "future_BHC"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_numbers_are_asked_without_dates(table):
    task = Forecasting(own(table, targets="load,heat", covariates="wind"))
    values = task._table.values_NC[:16]
    example = task.read(json.dumps(values.tolist()))
    np.testing.assert_allclose(example.past_TF, task._series.read_NF[:16], rtol=1e-5, atol=1e-6)
    answer = task.render(np.zeros((8, 2, 1), np.float32), example)
    assert answer == {
        "forecast": {
            name: [pytest.approx(mean, rel=1e-5)] * 8
            for name, mean in zip(("load", "heat"), task.codec.scaling.mean_C[:2], strict=True)
        }
    }
    with pytest.raises(UsageError, match="the input has 3 steps; give at least 16, with 3 numbers"):
        task.read("1 2 3 4 5 6 7 8 9")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"targets": "lode"}, "no column 'lode'; the columns are 'load, heat, wind'"),
        ({"split": "60,30"}, "give three positive numbers"),
        ({"split": "a,b,c"}, "give three numbers such as 8640,2880,2880"),
        ({"context": 110}, "the train part has 84 rows, too few for a horizon of 8 after a context of 110"),
        ({"batch_size": 100}, "data.batch_size 100 is more than the 61 training windows"),
        ({"loss": "quantile", "quantiles": "0.9,0.5,0.1"}, "data.quantiles '0.9,0.5,0.1' is not allowed"),
        ({"loss": "quantile", "quantiles": "0.1,0.4,0.9"}, "with 0.5 in the middle"),
        ({"time": "", "targets": "load"}, "line 2: date '2020-01-01 00:00' is not a number; leave the column out"),
        ({"path": "", "name": "etth1"}, "the data set 'etth1' is unknown; known: ett_h1, exchange"),
    ],
)
def test_refused(table, data, message):
    with pytest.raises(UsageError, match=message) as caught:
        Forecasting(own(table, **data))
    assert "\n" not in str(caught.value)


@needs_data
def test_m4_scores_as_the_competition():
    """The seasonal naive forecast has sMAPE 13.912, MASE 1.193 and, relative to Naive2, 0.628."""
    config = tiny_config("m4", None)
    config.model.kind, config.data.batch_size = "naive", 64
    parts = build(config.to_dict())
    result = evaluate(parts, init_state(parts).params, "test")
    assert (round(result["smape"], 3), round(result["mase"], 3), round(result["owa"], 3)) == (13.912, 1.193, 0.628)


@needs_data
@pytest.mark.slow
def test_a_series_of_ones_own_is_forecast_by_smoothing():
    config = tiny_config("m4", None)
    config.model.kind = "es_rnn"
    parts = build(config.to_dict())
    params = init_state(parts).params
    days = 100 + 50 * np.sin(2 * np.pi * np.arange(24 * 30) / 24)
    example = parts.task.read(json.dumps(days.tolist()))
    forecast = np.array(
        parts.task.render(predict(parts, params, parts.task.collate([example]))[0], example)["forecast"]
    )
    assert np.abs(forecast - days[:48]).mean() < 25  # before training the level and the seasons alone
    with pytest.raises(UsageError, match="the input has 3 hours; give at least 48"):
        M4(M4Config(context=48)).read("1 2 3")
    assert m4.SEASON * 2 == 48
