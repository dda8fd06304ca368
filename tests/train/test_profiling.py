"""A trace of some steps: its files, and the steps that stand in it."""

import gzip
import json
import re

import jax
import jax.numpy as jnp
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.train.loop import train
from xlstm_jax.train.profiling import Profile, parse_steps
from xlstm_jax.train.workdir.metrics import read_metrics


def traced_steps(workdir):
    """The steps named in the one trace of a workdir, and the names of all else that it saw."""
    (path,) = workdir.glob("profile/plugins/profile/*/*.trace.json.gz")
    assert [*path.parent.glob("*.xplane.pb")]
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    steps = sorted(int(e["args"]["step_num"]) for e in events if e.get("name") == "train" and "step_num" in e["args"])
    return steps, {event.get("name") for event in events}


@pytest.mark.parametrize("text", ["10", "10:", ":3", "5:4", "0:3", "a:b", "1:2:3", "-1:2"])
def test_what_is_no_range(text):
    message = rf"^--profile_steps={re.escape(text)} is not allowed; write FIRST:LAST, FIRST at least 1, such as 10:15$"
    with pytest.raises(UsageError, match=message):
        parse_steps(text)


def test_ranges():
    assert parse_steps("") is None and parse_steps("10:15") == (10, 15) and parse_steps("7:7") == (7, 7)


@pytest.mark.slow
@pytest.mark.usefixtures("rolled")
def test_a_run_is_traced(tmp_path):
    """Steps 3 to 5 of 6, an evaluation among them, with their computations; utilisation of the peak that is given."""
    config = tiny_config("language_model", write_text(tmp_path / "text.txt", words=60))
    config.model.pattern, config.model.recurrent.cell, config.model.features = "r", "rnn", 8
    config.train.steps, config.train.log_every, config.train.eval_every, config.sample.length = 6, 1, 4, 0
    config.train.peak_flops = 1e12
    assert train(config, tmp_path / "run", profile_steps=(3, 5)) == 0
    steps, names = traced_steps(tmp_path / "run")
    assert steps == [3, 4, 5]
    assert any("train_step" in name for name in names if name)
    records = [record for record in read_metrics(tmp_path / "run") if "train/loss" in record]
    for record in records:
        rate = record["train/model_flops_per_second"]
        assert rate > 0 and record["train/utilisation"] == pytest.approx(rate / 1e12)
    config.train.steps = 9
    message = r"^--profile_steps=3:8 is not allowed; must be within steps 7 to 9$"
    with pytest.raises(UsageError, match=message):
        train(config, tmp_path / "run", profile_steps=(3, 8))


def test_a_trace_cut_short_is_written(tmp_path):
    """As where a signal ends the run, or the loss is not finite; and outside its steps nothing is traced."""
    step = jax.jit(lambda x: x + 1)
    with pytest.raises(KeyboardInterrupt), Profile(tmp_path, (2, 9), 0, 9) as profile:
        profile.run(1, step, jnp.zeros(()))
        assert not (tmp_path / "profile").exists()
        profile.run(2, step, jnp.zeros(()))
        raise KeyboardInterrupt
    assert traced_steps(tmp_path)[0] == [2]
    with Profile(tmp_path / "none", None, 0, 9) as profile:
        assert profile.run(1, step, jnp.zeros(())) == 1
    assert not (tmp_path / "none").exists()
