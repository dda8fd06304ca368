"""A forecaster of a user's own file: trained, scored, and asked by the programs."""

import json

import numpy as np
import pytest

from tests.tasks.examples import tiny_config
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved

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


@pytest.mark.slow
def test_a_file_of_ones_own(table, tmp_path, programs):
    """Trained, scored, and asked: by a file, by numbers, with a figure."""
    config = tiny_config("forecasting", tmp_path)
    config.data.update({"path": str(table), "time": "date", "targets": "load,heat", "known": "wind"})
    config.data.update({"context": 16, "horizon": 8, "loss": "quantile", "split": "70,25,25"})
    config.model.update({"pattern": "r", "dropout": 0.0, "head_dropout": 0.0})
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 1e-2, 150, 50
    assert train(config, tmp_path / "run") == 0
    parts, params, _ = saved.load(tmp_path / "run")
    assert evaluate(parts, params, "test")["mse"] < 0.1
    lines = table.read_text().splitlines()
    asked = tmp_path / "asked.csv"
    asked.write_text("\n".join([lines[0], *lines[80:96], *(f"{line[:16]},,,0" for line in lines[96:104])]) + "\n")
    lines_of = tmp_path / "lines.txt"
    lines_of.write_text(f"{asked}\n")
    given = (f"--workdir={tmp_path}/run", f"--input={lines_of}")
    done = programs.run("predict", *given, "--json", f"--figure={tmp_path}/f.png")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["times"][0] == "2020-01-04 23:00:00" and len(answer["times"]) == 8
    truth = [float(line.split(",")[1]) for line in lines[96:104]]
    assert np.abs(np.array(answer["forecast"]["load"]) - truth).mean() < 0.4
    low, high = (np.array(answer["quantiles"][level]["heat"]) for level in ("0.1", "0.9"))
    assert (low <= high).mean() > 0.8 and 12 < low.mean() < high.mean() < 28
    assert (tmp_path / "f.png").stat().st_size > 5000
    for line, words in (
        ("1 2 3", "needs columns that are known ahead, or dates; give the path of a CSV file"),
        (str(table), "the last 8 rows of the file are to be forecast, and column 'load' has values there"),
        (str(asked), "a value of a column that is known ahead"),
    ):
        if line == str(asked):
            asked.write_text(asked.read_text().removesuffix("0\n") + "\n")
        lines_of.write_text(line + "\n")
        done = programs.run("predict", *given)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
