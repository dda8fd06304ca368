"""Anomalies: metrics from what the model expects, a file of one's own, decisions that use the past only, refusals."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from configs import anomaly as configs
from tests.tasks.examples import tiny_config
from xlstm_jax.data.series.anomalies import nab, skab
from xlstm_jax.data.series.anomalies.alarms import onset_scores, state_scores
from xlstm_jax.data.series.anomalies.monitored import Channels, Monitored
from xlstm_jax.data.series.anomalies.rules import row_scores
from xlstm_jax.data.series.anomalies.stream_windows import Windows
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.anomaly import Anomaly, AnomalyConfig
from xlstm_jax.tasks.base import Ratio, added, metrics
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import predict
from xlstm_jax.train.step import init_state

SMALL = {"time": "when", "window": 16, "stride": 8, "batch_size": 8, "seasons": "day", "calibration": 100}


def write(path, values_NC, names="ab", label=None):
    header = ",".join(["when", *names, *([] if label is None else ["odd"])])
    lines = [
        ",".join(
            [f"2020-01-{1 + t // 24:02} {t % 24:02}:00", *map(repr, row), *([] if label is None else [str(label[t])])]
        )
        for t, row in enumerate(values_NC.tolist())
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def waves(rows=400, seed=0):
    """A day's wave with noise in two channels; for 40 rows the first one is turned upside down and moved."""
    t, rng = np.arange(rows), np.random.default_rng(seed)
    x_NC = np.stack([np.sin(t * np.pi / 12), 10 + np.cos(t * np.pi / 12)], axis=1) + rng.normal(0, 0.1, (rows, 2))
    x_NC[300:340, 0] = 4 - x_NC[300:340, 0]
    return x_NC.round(4), ((t >= 300) & (t < 340)).astype(int)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "waves.csv", *waves()[:1], label=waves()[1])


def options(path, **changes):
    return {**SMALL, "path": path, "label": "odd", **changes}


def run(path, **changes):
    config = tiny_config("anomaly", None)
    config.data.update({"only": "", "scaling": "running", "rule": "onsets", **options(path, **changes)})
    return build(config.to_dict())


class Table:
    def __init__(self, outputs_BTC):
        self.outputs_BTC = jnp.asarray(outputs_BTC, jnp.float32)

    def expected(self, inputs, key=None):
        return self.outputs_BTC


def test_loss_by_hand(path):
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((2, 3, 4, 2)).astype(np.float32)
    scored = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [0] * 4], bool)
    batch = Windows(np.zeros((3, 4, 8)), targets, scored, np.full(3, -1), np.zeros(3))
    outcome = Anomaly(AnomalyConfig(**options(path))).forward(Table(outputs), batch, None, None)
    assert float(outcome.loss.value) == pytest.approx(np.abs(outputs - targets)[scored].mean(), rel=1e-6)


@pytest.mark.parametrize("rule", ["onsets", "states"])
def test_metrics_from_what_is_expected(path, rule):
    """All rows, from windows in any order of batches, give the score of residuals in the data's units."""
    task = Anomaly(AnomalyConfig(**options(path, rule=rule, threshold=0.5)))
    stream, (one,) = task._corpus.streams[0], task.series
    rng, sums, expected_NC = np.random.default_rng(1), {"loss": Ratio(0.0, 1.0)}, np.zeros((400, 2))
    for batch in reversed(list(task.batches("test"))):
        outputs = rng.standard_normal((8, 16, 2)).astype(np.float32)
        for place, (row, rows) in enumerate(zip(batch.row_B, batch.rows_B, strict=True)):
            expected_NC[row : row + rows] = outputs[place, 8 : 8 + rows]
        sums = added(sums, task.judge(outputs, batch))
    result = metrics(task, sums)
    residuals = one.values_NC - stream.base_NC - stream.scale_NC * expected_NC
    score = (
        onset_scores(one.values_NC, residuals, 100)
        if rule == "onsets"
        else state_scores(residuals / stream.scale_NC, 75, 100)
    )
    wanted = skab.result(skab.counts((score >= 0.5)[100:], one.anomalous_N[100:]))
    assert {name: result[name] for name in wanted} == pytest.approx(wanted)
    assert "nab" not in result and result["alarms"] > 0
    validation = task.judge(outputs, next(iter(task.batches("validation"))))
    assert validation["expected_RC"].count.sum() == 0 and task.derive(validation) == {}


def test_windows_of_a_corpus_give_its_benchmark(path, monkeypatch):
    task = Anomaly(AnomalyConfig(**options(path)))
    one = task.series[0]._replace(windows=((290, 330),), anomalous_N=None)
    monkeypatch.setattr(Anomaly, "series", [one])
    expected = np.zeros((400, 2))
    result = task.derive({"expected_RC": Ratio(expected, np.ones((400, 2)))})
    score = row_scores("onsets", one, task._corpus.streams[0], expected)[100:]
    assert {name: result[name] for name in ("nab", "nab_low_fp", "nab_low_fn", "nab_fixed")} == pytest.approx(
        {k: v for k, v in nab.result(score, nab.scored([one]), task.config.threshold).items() if k != "nab_threshold"}
    )
    assert result["nab"] > 50 and "f1" not in result


@pytest.mark.parametrize("variant", ["skab,gru", "lstm"])
def test_predictions_are_what_was_scored(path, tmp_path, variant):
    """A whole file at once, also after the codec was JSON, and the first part of it: later rows change nothing."""
    config = configs.get_config(variant)
    config.data.update(options(path))
    if variant.startswith("skab"):
        config.data.update({"window": 6, "stride": 1, "seasons": "none"})
    config.model.features, config.mesh.data = 8, 1
    parts = build(config.to_dict())
    params, task = init_state(parts).params, parts.task
    sums = {}
    for batch in task.batches("test"):
        sums = added(sums, task.judge(predict(parts, params, batch), batch))
    stream = task._corpus.streams[0]
    wanted = row_scores(task.config.rule, task.series[0], stream, sums["expected_RC"].total)
    again = Anomaly(task.config, Channels.from_json(json.loads(json.dumps(task.codec.to_json()))))
    first = write(tmp_path / "first.csv", waves()[0][:330])
    example = again.read(first)
    answer = again.render(predict(parts, params, again.collate([example]))[0], example)
    np.testing.assert_allclose(answer.scores_N, wanted[:330], rtol=2e-3, atol=2e-3)
    assert json.loads(json.dumps(answer))["highest"]["at"].startswith("2020-01-")


def test_an_autoencoder_reads_the_present(path):
    config = tiny_config("anomaly", None)
    config.data.update({"only": "", **options(path)})
    config.model.kind = "autoencoder"
    with pytest.raises(UsageError, match=r"model\.kind 'autoencoder' needs data\.reads=present; set one of them"):
        build(config.to_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 17}, r"data\.stride 17 is not allowed with data\.window 16; it must be at most as long"),
        ({"calibration": 20}, r"data\.calibration 20 is not allowed; must be 0, or at least 32"),
        ({"window": 128, "stride": 90}, r"data\.stride 90 is more than the 80 rows that a series is trained on"),
        ({"time": ""}, "is not a number; leave the column out, or correct it"),
        ({"label": "a"}, "must be 1 in anomalous rows and 0 in all others"),
        ({"calibration": 400}, "has 400 rows, too few to calibrate on the first 400; give at least 401"),
    ],
)
def test_refused(path, changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        Anomaly(AnomalyConfig(**options(path, **changes)))
    assert "\n" not in str(caught.value)


def test_inputs_that_cannot_be(path, tmp_path):
    task = Anomaly(AnomalyConfig(**options(path)))
    short = write(tmp_path / "short.csv", waves()[0][:90])
    for text, message in (
        ("  ", "the input is empty; give the path of a CSV file"),
        ("none.csv", "cannot read 'none.csv'"),
        (short, "has 90 rows, too few to calibrate on the first 100"),
    ):
        with pytest.raises(UsageError, match=message):
            task.read(text)
    assert isinstance(task.read(path), Monitored)
