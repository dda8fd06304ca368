"""Chaotic series: metrics by hand, free runs step by step, a file of one's own, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import chaos as configs
from tests.tasks.examples import tiny_config
from xlstm_jax.data.problems.base import Rows
from xlstm_jax.data.problems.chaos import FreeRows
from xlstm_jax.data.series.variables import VariablesCodec
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.chaos import Chaos, ChaosConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state
from xlstm_jax.train.workdir.metrics import read_metrics


class Table:
    """A model whose outputs are given, whatever it reads: it counts its steps."""

    def __init__(self, outputs_TD):
        self.outputs_TD = jnp.asarray(outputs_TD, jnp.float32)

    def unroll(self, inputs, carry=None, *, lengths=None, key=None):
        start = jnp.zeros((), jnp.int32) if carry is None else carry
        time = inputs.shape[1]
        rows = jax.lax.dynamic_slice_in_dim(self.outputs_TD, start, time)
        return jnp.broadcast_to(rows[None], (len(inputs), *rows.shape)), start + time


@pytest.fixture(scope="module")
def task():
    config = configs.get_config("tiny").data
    return Chaos(ChaosConfig(**config.to_dict() | {"free_steps": 90, "sequence_length": 20}))


def scored(task, outputs_TD, batch):
    outcome = task.forward(Table(outputs_TD), batch, None, None)
    return metrics(task, added({}, {"loss": outcome.loss, **outcome.ratios}))


def test_loss_and_error_one_step_ahead(task):
    """The first steps of a row do not count."""
    rng = np.random.default_rng(0)
    x_BTD = rng.standard_normal((4, 8, 1)).astype(np.float32)
    outputs_TD, mask_BT = rng.standard_normal((7, 1)), np.tile(np.arange(7) >= 3, (4, 1))
    result = scored(task, outputs_TD, Rows(x_BTD[:, :-1], x_BTD[:, 1:], mask_BT))
    change = task.codec.change_D[0]
    error_BT = (x_BTD[:, 1:, 0] - x_BTD[:, :-1, 0] - change * outputs_TD[:, 0])[:, 3:]
    wanted = {"loss": np.mean((error_BT / change) ** 2), "mse": np.mean(error_BT**2)}
    wanted |= {"nrmse": np.sqrt(wanted["mse"]), "tokens": 16}
    assert result == pytest.approx(wanted, rel=1e-5)


def test_values_instead_of_changes(task):
    """The outputs are the next step itself."""
    other = Chaos(dataclasses.replace(task.config, predicted="value"), task.codec)
    rng = np.random.default_rng(0)
    x_BTD, outputs_TD = rng.standard_normal((4, 8, 1)).astype(np.float32), rng.standard_normal((40, 1))
    result = scored(other, outputs_TD, Rows(x_BTD[:, :-1], x_BTD[:, 1:], np.ones((4, 7), bool)))
    wanted = np.mean((x_BTD[:, 1:, 0] - outputs_TD[:7, 0]) ** 2)
    assert result["loss"] == pytest.approx(wanted, rel=1e-5) and result["mse"] == pytest.approx(wanted, rel=1e-5)
    run_BKD = other.free_run(Table(outputs_TD), jnp.asarray(x_BTD), 20)
    np.testing.assert_allclose(run_BKD, np.tile(outputs_TD[7:27], (4, 1, 1)), rtol=1e-6)


def test_metrics_of_free_runs(task):
    """A truth at rest, and predictions that move by a given amount at each step: the error is their sum."""
    prefix_BPD = np.array([0.0, 1.0, -1.0], np.float32)[:, None, None] * np.ones((1, 36, 1), np.float32)
    future_BKD = np.repeat(prefix_BPD[:, :1], 90, axis=1)
    moves_T = np.zeros(36 + 90)
    moves_T[35:] = [0.01] * 4 + [0.05] * 20 + [0.0] * 67  # from the step that predicts the first of the future
    result = scored(task, moves_T[:, None] / task.codec.change_D, FreeRows(prefix_BPD, future_BKD))
    error_K = np.cumsum(moves_T[35 : 35 + 90])
    assert result["nrmse"] == pytest.approx(np.sqrt(np.mean(moves_T[35:125] ** 2)), rel=1e-4)
    assert result["nrmse_84"] == pytest.approx(error_K[83], rel=1e-4)
    assert result["doubling"] == np.argmax(error_K > 0.02 + 1e-6) + 1 == 3
    assert result["valid_steps"] == np.argmax(error_K > 0.4) == 11
    assert result["valid_time"] == pytest.approx(11 * 0.0052)
    assert result["tokens"] == 3 * 90


@pytest.mark.parametrize("pattern", ["r", pytest.param("s,m,transformer", marks=pytest.mark.slow)])
def test_a_free_run_feeds_back_its_predictions(pattern, tmp_path, rolled):
    """As if the whole sequence were read anew for each step."""
    config = tiny_config("chaos", tmp_path)
    config.model.pattern, config.model.features, config.data.system = pattern, 16, "lorenz"
    parts = build(config.to_dict())
    task, params = parts.task, init_state(parts).params
    prefix_BPD = next(iter(task.batches("free"))).prefix_BPD[:3, :10]
    run = jax.jit(lambda params, x: task.free_run(parts.model(params), x, 4))
    found_BKD = run(params, prefix_BPD)
    x_BTD, whole = prefix_BPD, jax.jit(lambda params, x, length: parts.model(params).unroll(x, lengths=length)[0])
    for step in range(4):
        padded_BTD, lengths_B = np.pad(x_BTD, ((0, 0), (0, 4 - step), (0, 0))), np.full(3, 10 + step, np.int32)
        output_BD = np.asarray(whole(params, padded_BTD, lengths_B))[:, 9 + step]
        following_BD = x_BTD[:, -1] + task.codec.change_D.astype(np.float32) * output_BD
        np.testing.assert_allclose(found_BKD[:, step], following_BD, rtol=1e-3, atol=1e-4)
        x_BTD = np.concatenate([x_BTD, following_BD[:, None]], axis=1)


def test_a_file_as_input_and_a_figure(task, tmp_path):
    from experiments.programs.figures import panels, write_figure

    path = write(tmp_path / "a.csv", ("y", "x"), [(9, 0.8), (9, 0.9), (9, 1.0)])
    example = task.read(str(path))
    np.testing.assert_allclose(task.codec.scaling.restored(example), [[0.8], [0.9], [1.0]], rtol=1e-6)
    answer = task.render(np.zeros((8, 1), np.float32), example)
    assert answer["continuation"] == pytest.approx([task.codec.scaling.mean_C[0]] * 3, rel=1e-5)
    figure, (axes,) = panels(1)
    task.draw(axes, answer, example)
    assert [line.get_xdata().tolist() for line in axes.lines[:2]] == [[-2, -1, 0], [0, 1, 2, 3]]
    write_figure(figure, tmp_path / "a.png")


def write(path, columns, rows):
    lines = [",".join(columns), *(",".join(f"{value:.8f}" for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def waves(tmp_path):
    """A file with two sine waves, which obey x_t = 2 cos(w) x_{t-1} - x_{t-2}."""
    time = np.arange(900)
    return write(tmp_path / "waves.csv", ("a", "b"), np.stack([3 + np.sin(time / 5), 10 * np.cos(time / 8)], axis=1))


def test_linear_autoregression_continues_waves(waves, tmp_path):
    """A file of one's own, without training: least squares predicts it, and goes on for as long as one likes."""
    config = configs.get_config("linear,tiny")
    config.mesh.data = 1
    config.data.path, config.model.lags, config.train.steps, config.train.eval_every = str(waves), 3, 1, 1
    config.data.free_steps = 60
    assert train(config, tmp_path / "run") == 0
    result = {name: value for record in read_metrics(tmp_path / "run") for name, value in record.items()}
    assert result["free/nrmse"] < 1e-4 and result["free/valid_steps"] == 60 and "free/valid_time" not in result
    parts = build(config.to_dict())
    task, params = parts.task, init_state(parts).params
    assert "2 variables (a, b), 1 series of 630 steps" in task.summary()
    time = np.arange(2000, 2040)
    text = json.dumps(np.stack([3 + np.sin(time / 5), 10 * np.cos(time / 8)], axis=1).tolist())
    again = Chaos(task.config, VariablesCodec.from_json(json.loads(json.dumps(task.codec.to_json()))))
    example = again.read(text)
    answer = np.array(again.render(predict(parts, params, again.collate([example]))[0], example)["continuation"])
    time = np.arange(2040, 2080)
    np.testing.assert_allclose(answer, np.stack([3 + np.sin(time / 5), 10 * np.cos(time / 8)], axis=1), atol=0.02)


def test_more_lags_than_steps_are_refused(waves):
    config = configs.get_config("linear,tiny")
    config.mesh.data = 1
    config.data.path, config.data.free_steps, config.model.lags = str(waves), 60, 630
    with pytest.raises(UsageError, match=r"model\.lags 630 is not less than the 630 steps of a training series; lower"):
        init_state(build(config.to_dict()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"series_length": 100}, r"data\.series_length 100 is not allowed; must be at least 148, the sum of"),
        ({"path": "{tmp}/none.csv"}, r"cannot read '.*none\.csv'"),
        ({"path": "{tmp}/short.csv"}, r"short\.csv' has 300 rows, and 15% of them are fewer than the 148 steps"),
        ({"path": "{tmp}/holes.csv"}, r"holes\.csv' has no value of 'a' in row 3; fill it in"),
        ({"path": "{tmp}/flat.csv"}, r"column 'a' is always 1 in the training part"),
    ],
)
def test_series_that_cannot_be(changes, message, tmp_path):
    write(tmp_path / "short.csv", ("a",), np.random.default_rng(0).standard_normal((300, 1)))
    write(tmp_path / "holes.csv", ("a",), np.where(np.arange(2000) == 2, np.nan, np.arange(2000) % 7)[:, None])
    write(tmp_path / "flat.csv", ("a",), np.ones((2000, 1)))
    config = configs.get_config("tiny").data.to_dict()
    config |= {key: value.format(tmp=tmp_path) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(UsageError, match=message) as caught:
        Chaos(ChaosConfig(**config))
    assert "\n" not in str(caught.value)


def test_inputs_that_cannot_be(task):
    for text, message in (("1.0", "one step; give at least 2"), ("", "is not allowed"), ("a b", "not a list of num")):
        with pytest.raises(UsageError, match=message):
            task.read(text)
    damaged = {"kind": "series", "scaling": task.codec.scaling.to_json(), "change": [0.0]}
    with pytest.raises(UsageError, match="the codec is damaged"):
        VariablesCodec.from_json(damaged)


@pytest.mark.slow
def test_a_minute_of_training_beats_persistence(tmp_path):
    config = configs.get_config("lstm,tiny")
    config.mesh.data, config.model.pattern = 1, "r"
    config.data.series_length = 512
    config.train.steps = config.train.eval_every = 300
    assert train(config, tmp_path / "run") == 0
    result = {name: value for record in read_metrics(tmp_path / "run") for name, value in record.items()}
    assert result["validation/loss"] < 0.01 and result["free/valid_steps"] > 20


def test_each_split_has_its_own_series(task):
    """And is drawn from anew in the same way."""
    starts = [next(iter(task.batches(split)))[0][:, 0, 0] for split in ("validation", "free")]
    starts.append(next(iter(task.train_batches(0))).inputs_BT[:, 0, 0])
    everything = [np.asarray(task.codec.scaling.standardized(part)) for part in task._series[1].values()]
    for first_B, own in zip(starts, (everything[1], everything[2], everything[0]), strict=True):
        found = [np.isin(first_B, part).mean() for part in everything]
        assert np.isin(first_B, own).all() and sorted(found)[1] < 0.5
