"""The training loop, in one process: what it leaves, how it goes on, and what it refuses."""

import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.interruption import Interrupted
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import abstract_state, train_step
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.metrics import TIMED, read_metrics

pytestmark = pytest.mark.usefixtures("rolled")


@pytest.fixture
def config(tmp_path):
    """Six batches a pass over the training text, in order; a step compiles in a moment."""
    config = tiny_config("language_model", write_text(tmp_path / "text.txt", words=60))
    config.model.pattern, config.model.recurrent.cell, config.model.features = "r", "rnn", 8
    config.model.dropout = 0.2
    config.data.sampling, config.data.sequence_length, config.data.batch_size = "stream", 8, 4
    config.train.steps, config.train.log_every, config.train.eval_every = 10, 2, 100
    config.sample.length = 0
    return config


def curve(workdir):
    """Training records without what a clock measured."""
    records = [record for record in read_metrics(workdir) if "train/loss" in record]
    return [{key: value for key, value in record.items() if key not in TIMED} for record in records]


def last_state(config, workdir):
    run = build(config.to_dict())
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(checkpoints.latest_step(), abstract_state(run))


def trained(config, workdir, **changes):
    with config.train.unlocked():
        config.train.update(changes)
    assert train(config, workdir) == 0
    return workdir


def test_what_is_measured_and_kept(config, tmp_path):
    workdir = trained(config, tmp_path / "run", steps=9, log_every=4, eval_every=3, keep=1)
    records = read_metrics(workdir)
    assert [record["step"] for record in records if "train/loss" in record] == [1, 4, 8, 9]
    assert [record["step"] for record in records if "validation/loss" in record] == [3, 6, 9]
    names = {"train/loss", "train/grad_norm", "train/learning_rate", "train/skipped"}
    assert set(curve(workdir)[0]) == {"step", *names}
    timed = [record for record in records if "train/loss" in record]
    assert all(set(TIMED) - {"train/utilisation"} <= set(record) for record in timed)
    validation = {record["step"]: record["validation/loss"] for record in records if "validation/loss" in record}
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.best_step() == min(validation, key=validation.get)
        assert checkpoints.steps == sorted({checkpoints.best_step(), 9})


def test_raising_the_steps_goes_on_in_the_middle_of_a_pass(config, tmp_path):
    """The carry, the optimizer's moments, the data's position and dropout go on as if there had been no stop."""
    whole = trained(config, tmp_path / "whole")
    parts = trained(config, tmp_path / "parts", steps=4)
    trained(config, parts, steps=10)
    assert curve(parts) == curve(whole)
    got, wanted = last_state(config, parts), last_state(config, whole)
    assert got.data == wanted.data
    assert jax.tree.structure(got.state) == jax.tree.structure(wanted.state)
    for a, b in zip(jax.tree.leaves(got.state), jax.tree.leaves(wanted.state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert jax.tree.leaves(got.state.carry)


def test_a_finished_run_is_left_as_it_is(config, tmp_path, capsys):
    workdir = trained(config, tmp_path / "run", steps=3)
    before = (workdir / "metrics.jsonl").read_bytes()
    trained(config, workdir)
    assert (workdir / "metrics.jsonl").read_bytes() == before
    assert "step 3 of 3 is already done" in capsys.readouterr().out
    config.train.steps = 2
    with pytest.raises(UsageError, match=r"train\.steps 2 is below the 3 done"):
        train(config, workdir)


def test_an_evaluation_that_is_not_finite(config, tmp_path):
    """Saves nothing. A rate so large that products of the parameters overflow after the first step."""
    config.optimizer.name, config.optimizer.learning_rate, config.optimizer.clip_norm = "sgd", 1e30, 0.0
    config.train.eval_every = 1
    with pytest.raises(UsageError, match="validation loss nan is not finite at step 1; no checkpoint was saved"):
        train(config, tmp_path / "evaluated")
    with Checkpoints(tmp_path / "evaluated", read_only=True) as checkpoints:
        assert checkpoints.steps == []


def test_loss_that_is_not_finite_later(config, tmp_path, monkeypatch):
    """Names the last checkpoint from before, though losses are read late."""
    step = train_step

    def poisoned(parts, state, batch):
        after, metrics = step(parts, state, batch)
        return after, metrics | {"loss": jnp.where(state.step == 4, jnp.inf, metrics["loss"])}

    monkeypatch.setattr("xlstm_jax.train.step.train_step", poisoned)
    config.train.eval_every, config.train.max_skipped = 2, 0
    with pytest.raises(UsageError, match=rf"is not finite at step 5; .* checkpoint is step 4 in {tmp_path / 'run'};"):
        train(config, tmp_path / "run")


def test_another_config_in_the_same_workdir(config, tmp_path):
    workdir = trained(config, tmp_path / "run", steps=2)
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    config.optimizer.learning_rate, config.model.features = 0.5, 16
    message = (
        r"another config: model\.features \(saved 8, given 16\), "
        r"optimizer\.learning_rate \(saved 0\.001, given 0\.5\); use another workdir"
    )
    with pytest.raises(UsageError, match=message):
        train(config, workdir)
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_workdir_from_before_a_knob_was_there(config, tmp_path):
    """The knob stood at its default: the run goes on with that, and with nothing else."""
    workdir = trained(config, tmp_path / "run", steps=2)
    path = workdir / "config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    del saved["model"]["mlstm"]["ffn_factor"], saved["optimizer"]["momentum"]
    path.write_text(json.dumps(saved), encoding="utf-8")
    with config.unlocked():
        config.model.mlstm.ffn_factor = 2.0
    with pytest.raises(UsageError, match=r"another config: model\.mlstm\.ffn_factor \(saved 0\.0, given 2\.0\);"):
        train(config, workdir)
    config.model.mlstm.ffn_factor = 0.0
    trained(config, workdir, steps=3)
    assert "ffn_factor" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("change", ["same characters", "another alphabet"])
def test_another_text_in_the_same_workdir(config, tmp_path, change):
    workdir = trained(config, tmp_path / "run", steps=2)
    path = tmp_path / "text.txt"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[::-1] if change == "same characters" else text + "ß", encoding="utf-8")
    config.train.steps = 4
    with pytest.raises(UsageError, match=r"data are not those that workdir .* was trained on; use another workdir"):
        train(config, workdir)


def test_workdir_that_cannot_be(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; give a folder"):
        train(config, tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be made"):
        train(config, tmp_path / "file" / "below")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json cannot be read as JSON"):
        train(config, tmp_path / "damaged")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "pattern", "rz", "unknown block 'z'"),
        ("sample", "prompt", "%", r"characters outside the vocabulary: '%'"),
        ("data", "path", "/nowhere/text.txt", "no file '/nowhere/text.txt'"),
        ("optimizer", "warmup_steps", 99, "warmup_steps 99 is more than"),
    ],
)
def test_nothing_is_written_before_all_errors_have_shown(config, tmp_path, section, key, value, message):
    config.sample.length = 5
    config[section][key] = value
    with pytest.raises(UsageError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_sections_and_keys(config):
    values = config.to_dict()
    with pytest.raises(UsageError, match=r"config section 'trian' is unknown; known: task, seed, .*train"):
        build({**values, "trian": {}})
    with pytest.raises(UsageError, match=r"train\.step is unknown; train has: .*steps"):
        build({**values, "train": {**values["train"], "step": 1}})
    with pytest.raises(UsageError, match=r"unknown task 'language'; known: .*language_model"):
        build({**values, "task": "language"})


def test_signals_become_a_flag():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupted() as interrupted:
        assert not interrupted
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted and interrupted.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)  # a second one does not wait
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_is_status_130(config, tmp_path, monkeypatch):
    """The step reached is saved, and the next run starts there."""

    def evaluate_then_interrupt(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*args, **options)

    monkeypatch.setattr("xlstm_jax.train.loop.evaluate", evaluate_then_interrupt)
    config.train.eval_every = 3
    assert train(config, tmp_path / "run") == 130
    assert int(last_state(config, tmp_path / "run").state.step) == 3
