"""`experiments.evaluate --positions`: the table, the file and the figure."""

import json
import shutil

import matplotlib.image
import pytest

from xlstm_jax.train.workdir.metrics import read_metrics


def test_positions(programs, tiny_run, tmp_path):
    workdir = shutil.copytree(tiny_run, tmp_path / "run")
    before = {path.name for path in workdir.iterdir()}
    shown = programs.output("evaluate", f"--workdir={workdir}", "--positions")
    result = json.loads((workdir / "evaluation-validation-positions.json").read_text())
    assert {path.name for path in workdir.iterdir()} - before == {
        "evaluation-validation-positions.json",
        "evaluation-validation-positions.png",
    }
    # About 290 validation characters: two windows of 128, but not two of 256 or 512.
    assert result["windows"] == {"count": 2, "multiple": 4, "length": 128} and result["training_length"] == 32
    assert "2 consecutive windows of 128 tokens (4 x the training length 32) that do not overlap" in shown
    bins = result["bins"]
    assert (bins[0]["first"], bins[-1]["last"]) == (1, 128) and all(one["standard_error"] >= 0 for one in bins)
    for one in bins:
        assert f"{one['nats']:.4f}" in shown and f"{one['perplexity']:.3f}" in shown
    # All positions together are nearly the whole split, whose loss training measured from empty states.
    whole = sum(one["nats"] * (one["last"] - one["first"] + 1) for one in bins) / 128
    measured = [record["validation/loss"] for record in read_metrics(workdir) if "validation/loss" in record]
    assert whole == pytest.approx(measured[-1], rel=0.15)
    image = matplotlib.image.imread(workdir / "evaluation-validation-positions.png")
    assert image.shape[0] > 400 and image.std() > 0.05

    done = programs.run("evaluate", f"--workdir={workdir}", "--positions", "--split=test")
    assert done.returncode == 2 and "split 'test' is unknown; allowed: train, validation, all" in done.stderr
