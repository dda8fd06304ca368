"""Death in hospital: metrics over a whole split, a folder of one's own, predictions, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks.examples import tiny_config
from xlstm_jax.data.series.stays.codec import StayCodec
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.clinical import Clinical, ClinicalConfig
from xlstm_jax.tasks.ranking import average_precision, roc_auc
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

STAYS = 120


def record(number, rng, died):
    """A stay in which those who die have a falling pressure; other values and times are random."""
    lines = [f"00:00,RecordID,{number}", "00:00,Age,60", "00:00,Gender,-1", f"00:00,ICUType,{1 + number % 4}"]
    for hour in np.flatnonzero(rng.random(48) < 0.4):
        pressure = 80 + 5 * rng.standard_normal() - died * 0.8 * hour
        lines += [f"{hour:02}:30,MAP,{pressure:.1f}", f"{hour:02}:31,HR,{80 + 10 * rng.standard_normal():.1f}"]
    return "Time,Parameter,Value\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("stays"), np.random.default_rng(0)
    died_N = (np.arange(STAYS) % 4 == 0).astype(int)
    for number, died in enumerate(died_N):
        (path / f"{number}.txt").write_text(record(number, rng, died))
    rows = "\n".join(f"{number},{died}" for number, died in enumerate(died_N))
    (path / "Outcomes.txt").write_text(f"RecordID,In-hospital_death\n{rows}\n")
    return path


@pytest.fixture(scope="module")
def task(folder):
    return Clinical(ClinicalConfig(path=str(folder), hours=4.0, batch_size=5))


class Table:
    """A model whose logit is a function of a stay's inputs."""

    config = None

    def classify(self, inputs_BTD, lengths_B, key=None):
        return jnp.round(jnp.sum(inputs_BTD, axis=(1, 2)), 1)[:, None] / 100


def test_areas_over_a_whole_split(task):
    """As from all scores at once, whatever the batches and their order; rows that only fill up a batch do not count."""
    part = task.splits["test"]
    scores = np.asarray(Table().classify(jnp.asarray(task._rows.inputs_NTD[part]), None))[:, 0]
    died = task._stays.died_N[part]
    nats = np.logaddexp(0, scores) - died * scores
    wanted = {"loss": nats.mean(), "auc": roc_auc(scores, died), "average_precision": average_precision(scores, died)}
    for size in (5, 7):
        other = Clinical(ClinicalConfig(path=task.config.path, hours=4.0, batch_size=size), task.codec)
        sums = {}
        for batch in reversed(list(other.batches("test"))):
            outcome = other.forward(Table(), batch, None, None)
            sums = added(sums, {"loss": outcome.loss, **outcome.ratios})
        assert metrics(other, sums) == pytest.approx(wanted | {"stays": len(part)}, rel=1e-5)


def test_the_scaling_is_that_of_the_training_stays(task):
    """No other split has a part in it."""
    values_NTF = task._values_NTF.copy()
    for name in ("validation", "test"):
        values_NTF[task.splits[name]] = 1e6
    part = task.splits["train"]
    other = StayCodec.of(4.0, values_NTF[part], task._stays.died_N[part])
    assert other.to_json() == task.codec.to_json()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["grud", "logistic", "lstm_means"])
def test_a_folder_of_ones_own_is_learned(folder, tmp_path, variant):
    """The test split is scored once, by the checkpoint with the best area; a record is asked about by its path."""
    from configs import clinical

    config = clinical.get_config(f"{variant},tiny")
    config.mesh.data = 1
    config.data.path, config.optimizer.learning_rate, config.train.steps = str(folder), 1e-2, 60
    assert train(config, tmp_path / "run") == 0
    scored = [record for record in read_metrics(tmp_path / "run") if "test/auc" in record]
    assert len(scored) == 1 and scored[0]["test/auc"] > 0.9
    parts, params, _ = saved.load(tmp_path / "run")
    assert evaluate(parts, params, "test")["auc"] == pytest.approx(scored[0]["test/auc"])
    risks = []
    for number in (0, 1):
        example = parts.task.read(str(folder / f"{number}.txt"))
        answer = parts.task.render(predict(parts, params, parts.task.collate([example]))[0], example)
        risks.append(answer["risk"])
    assert risks[0] > risks[1]


def test_a_record_by_path_and_by_content(task, folder):
    example = task.read(f" {folder}/3.txt ")
    assert example.shape == (12, 3 * 44) and example.dtype == np.float32
    text = (folder / "3.txt").read_text()
    np.testing.assert_array_equal(task.read(text), example)
    np.testing.assert_array_equal(task.read("; ".join(text.strip().split("\n")[1:])), example)
    np.testing.assert_array_equal(example, task._rows.inputs_NTD[3])
    again = Clinical(ClinicalConfig(hours=4.0), StayCodec.from_json(json.loads(json.dumps(task.codec.to_json()))))
    np.testing.assert_array_equal(again.read(text), example)  # which needs no data


def test_answers_say_what_was_measured(task):
    example = task.read("00:00,Age,60; 00:10,HR,150; 04:10,MAP,82")
    answer = task.render(np.float32(0.25), example)
    assert answer["risk"] == 0.25 and answer["risk of all"] == pytest.approx(0.25, abs=0.03)
    assert answer["measured"] == "3 of 44"
    unusual = answer["unusual"]
    assert list(unusual) == ["HR"] and 100 < unusual["HR"] < 150  # no farther than five standard deviations


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", "^the input is empty; give the path of a record, or its content$"),
        ("no/such/file.txt", "^cannot read 'no/such/file.txt': .*; give a record in UTF-8$"),
        ("00:00,Pulse,3", "^the record line 2: parameter 'Pulse' is unknown; known: Age, "),
        ("00:00,HR,80; 00:01,HR", "^the record line 3: '00:01,HR' is damaged; write it like 00:07,HR,73$"),
        ("Time,Parameter,Value", "^the record has no measurements; give at least one line such as 00:07,HR,73$"),
    ],
)
def test_inputs_that_cannot_be(task, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        task.read(text)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be(folder, tmp_path):
    config = tiny_config("clinical", tmp_path).to_dict()
    config["data"] |= {"path": str(folder), "batch_size": 100}
    with pytest.raises(UsageError, match=r"data.batch_size 100 is more than the \d+ training stays; lower it"):
        build(config)
    config["data"]["path"] = str(tmp_path)
    with pytest.raises(UsageError, match=r"has no Outcomes\.txt; give one with the columns"):
        build(config)
    assert not list(tmp_path.iterdir())
