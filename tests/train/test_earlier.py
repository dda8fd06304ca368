"""Runs that version 0.1 saved: evaluated, sampled from and resumed, with the numbers that version 0.1 gave."""

import json
import pathlib
import shutil
import zipfile

import jax
import pytest

from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import sample_text
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.earlier import upgraded
from xlstm_jax.train.workdir.metrics import read_metrics

SAVED = pathlib.Path(__file__).parent / "golden" / "version_0_1"
# What version 0.1 measured at step 4, and when it went on, at step 6.
EVALUATED = {"characters": 3.3093865712483725, "adding": 0.19717179983854294}
RESUMED = {"characters": (3.1191251277923584, 3.2928765614827475), "adding": (0.2401382029056549, 0.10111161693930626)}


@pytest.fixture(params=EVALUATED)
def name(request):
    return request.param


@pytest.fixture
def workdir(name, tmp_path):
    with zipfile.ZipFile(SAVED / f"{name}.zip") as file:
        file.extractall(tmp_path / name)
    shutil.copy(SAVED / "text.txt", tmp_path)
    path = tmp_path / name / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if "path" in config["data"]:
        config["data"]["path"] = str(tmp_path / "text.txt")
    path.write_text(json.dumps(config), encoding="utf-8")
    return tmp_path / name


def config_of(name, workdir):
    """The same run in today's terms."""
    config = tiny_config("language_model" if name == "characters" else "adding", workdir.parent / "text.txt")
    config.optimizer.schedule = "constant"
    config.train.update({"steps": 6, "eval_every": 2, "log_every": 1})
    config.model.features = 8
    if name == "adding":
        config.model.pattern, config.model.recurrent.cell, config.data.batch_size = "r", "gru", 8
        return config
    config.model.pattern, config.model.recurrent.options = "rt", "forget_bias=2.0"
    config.model.transformer.update({"window": 16, "num_heads": 2})
    config.data.update({"sampling": "stream", "sequence_length": 8, "batch_size": 4})
    config.sample.length = 5
    return config


def test_it_is_evaluated(name, workdir):
    parts, params, step = saved.load(workdir)
    assert step == 4
    with jax.numpy_dtype_promotion("standard"):
        assert evaluate(parts, params, "validation")["loss"] == pytest.approx(EVALUATED[name], rel=1e-4)


def test_it_goes_on(name, workdir):
    """From the middle of a pass, with the optimizer's moments; in a language model with the state of the stream."""
    assert train(config_of(name, workdir), workdir) == 0
    last = {key: value for record in read_metrics(workdir) for key, value in record.items()}
    assert (last["train/loss"], last["validation/loss"]) == pytest.approx(RESUMED[name], rel=1e-4)
    assert saved.load(workdir, "latest").step == 6  # whose codec has its new name


@pytest.mark.parametrize("name", ["characters"], indirect=True)
def test_it_is_sampled_from(workdir):
    trained = saved.load(workdir)
    text = sample_text(trained.model, trained.parts.task.codec, "the", length=12, temperature=0.0)
    assert text == "theeeeeeeee\n\n\n\n"[: len(text)] and len(text) == 15


@pytest.mark.parametrize("name", ["characters"], indirect=True)
def test_another_config_is_refused_in_todays_terms(workdir):
    config = config_of("characters", workdir)
    config.model.recurrent.options = "forget_bias=3.0"
    with pytest.raises(
        UsageError, match=r"model\.recurrent\.options \(saved 'forget_bias=2\.0', given 'forget_bias=3\.0'\)"
    ):
        train(config, workdir)


def test_a_classifier_that_ignored_its_input():
    """Before `model.kind`, sentiment had the switch `model.reads`; other tasks keep theirs."""
    for reads, kind in ((True, "stack"), (False, "majority")):
        assert upgraded({"task": "sentiment", "model": {"reads": reads}})["model"] == {"kind": kind}
        assert upgraded({"task": "caption", "model": {"reads": reads}})["model"] == {"reads": reads}


def test_what_is_damaged_stays_so():
    for config in ({}, {"model": 3}, {"model": {"recurrent": 1, "transformer": []}}):
        assert {**upgraded(config), **config} == upgraded(config)
