"""A user's own package, installed: the example of docs/plugins.md, and plugins that fail."""

import json
import shutil
import subprocess
import sys

import pytest

from experiments.programs.cli import ROOT
from xlstm_jax.errors import UsageError
from xlstm_jax.plugins import load_plugins

EXAMPLE = ROOT / "docs" / "plugin_example"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the example installed."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ["--quiet", "--no-deps", "--target", folder / "site"]
    command = [sys.executable, "-m", "pip", "install", *options, folder / "source"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def run(programs, site):
    """Runs a program with the example installed."""

    def run(name, *arguments, **env):
        return programs.run(name, *arguments, PYTHONPATH=f"{site}:{ROOT}", **env)

    return run


@pytest.mark.slow
def test_the_example(run, programs, tmp_path):
    """Its config trains its task with its block and cell; the run is resumed, evaluated and asked; and without the
    package one line says what is missing."""
    workdir = f"--workdir={tmp_path}/latch"
    config = "--config=my_recurrences.config:leaky,tiny"
    done = run("train", config, workdir, "--config.model.leaky_block.dropout=0.1")
    assert done.returncode == 0, done.stderr
    assert "leaky_block*2" in done.stdout and "step 20  validation loss" in done.stdout
    done = run("train", config, workdir, "--config.model.leaky_block.dropout=0.1", "--config.train.steps=25")
    assert "resuming from step 20" in done.stdout, done.stderr
    done = run("evaluate", workdir, "--split=long", "--json")
    assert 0 <= json.loads(done.stdout)["accuracy"] <= 1, done.stderr
    (tmp_path / "rows.txt").write_text("mark1 a b b a\nmark0 b\n", encoding="utf-8")
    done = run("predict", workdir, f"--input={tmp_path}/rows.txt", "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["input"] for answer in answers] == ["mark1 a b b a", "mark0 b"], done.stderr
    assert all(answer["answer"].startswith(("mark", "a", "b", ".")) for answer in answers)
    for name in ("evaluate", "predict"):
        done = programs.run(name, workdir)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert (
            "plugin 'my_recurrences' is not installed (no module 'my_recurrences'); install its package" in done.stderr
        )


@pytest.mark.slow
def test_its_cell_source_sweep_and_suite(run, tmp_path):
    options = ("--config.train.steps=2", "--config.train.eval_every=2", "--config.sample.length=0")
    sizes = ("--config.model.features=8", "--config.data.batch_size=2", "--config.data.sequence_length=8")
    text = ("--config=configs/quickstart.py", "--config.data.source=primes", "--config.optimizer.warmup_steps=0")
    cell = (
        "--config.model.pattern=r",
        "--config.model.recurrent.cell=leaky",
        "--config.model.recurrent.options=slowest=0.8",
    )
    done = run("train", *text, *cell, *options, *sizes, f"--workdir={tmp_path}/primes")
    assert done.returncode == 0, done.stderr
    done = run("sweep", "--sweep=my_recurrences.sweep:tiny", f"--workdir={tmp_path}/sweep")
    assert done.returncode == 0 and "2 finished, 0 failed" in done.stdout, done.stdout + done.stderr
    done = run("bench", "--suite=leaky", f"--out={tmp_path}/bench", "--tiny", "--rounds=2")
    assert done.returncode == 0, done.stderr
    assert "leaky" in (tmp_path / "bench" / "leaky.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, r"^plugin 'broken_plugin' is not installed \(no module 'broken_plugin'\); install its package"),
        ("1 / 0", "^plugin 'broken_plugin' cannot be imported: ZeroDivisionError: division by zero; fix it"),
        ("import not_there_either", "^plugin 'broken_plugin' cannot be imported: No module named 'not_there_either'"),
        ("raise ValueError('two\\nlines')", "^plugin 'broken_plugin' cannot be imported: ValueError: two; fix it"),
    ],
)
def test_plugins_that_fail(tmp_path, monkeypatch, source, message):
    if source is not None:
        (tmp_path / "broken_plugin.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=message) as caught:
        load_plugins("json, broken_plugin")
    assert "\n" not in str(caught.value)


def test_nothing_is_written_where_a_plugin_fails(programs, tmp_path):
    done = programs.run(
        "train", "--config=configs/quickstart.py", "--config.plugins=no_such", f"--workdir={tmp_path}/run"
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "plugin 'no_such'" in done.stderr
    assert not (tmp_path / "run").exists()
