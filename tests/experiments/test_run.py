"""Train, evaluate, generate: their output and files."""

import json
import math
import os

import pytest

from tests.mirror import needs_mirror
from xlstm_jax.train.workdir.metrics import read_metrics


def losses(workdir, name):
    return {record["step"]: record[name] for record in read_metrics(workdir) if name in record}


@pytest.mark.slow
def test_train_evaluate_generate(programs, text, tmp_path):
    workdir = tmp_path / "run"
    tiny = ("--config=configs/char_lm.py:tiny", f"--config.data.path={text}", f"--workdir={workdir}")
    shown = programs.output("train", *tiny, "--config.train.steps=25")

    files = {path.name for path in workdir.iterdir()}
    assert {"config.json", "codec.json", "metrics.jsonl", "loss.png", "sample.txt", "checkpoints"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files) and not any("tmp" in name for name in files)
    assert json.loads((workdir / "config.json").read_text())["train"]["steps"] == 25
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"20", "25"}
    train, validation = losses(workdir, "train/loss"), losses(workdir, "validation/loss")
    assert list(train) == [1, 5, 10, 15, 20, 25] and list(validation) == [10, 20, 25]
    # Twenty letters and a few words: the loss at chance is 3.0 nats, and letter frequencies are learned quickly.
    assert train[25] < train[1] - 0.5 and validation[25] < 2.6
    assert f"validation loss {validation[25]:.4f} nats per char" in shown and "sample from step 25" in shown
    sample = (workdir / "sample.txt").read_text()
    assert len(sample) > 20 and sample in shown

    evaluated = programs.output("evaluate", f"--workdir={workdir}")
    result = json.loads((workdir / "evaluation-validation.json").read_text())
    assert result["loss"] == pytest.approx(validation[25], rel=1e-6) and result["step"] == 25
    assert f"{result['bits_per_byte']:.4f} bits per byte" in evaluated
    assert result["bits_per_byte"] == pytest.approx(result["loss"] / math.log(2))
    programs.output("evaluate", f"--workdir={workdir}", "--carry", "--checkpoint=20")
    carried = json.loads((workdir / "evaluation-validation-carry.json").read_text())
    assert (carried["step"], carried["carry"], carried["tokens"]) == (20, True, result["tokens"])
    assert carried["loss"] == pytest.approx(validation[20], rel=0.05)

    def sample(*options):
        return programs.output("generate", f"--workdir={workdir}", "--prompt=the ", "--length=40", *options)

    first = sample("--seed=1")
    assert first.startswith("the ") and len(first) == len("the ") + 40 + len("\n")
    assert set(first) <= set(text.read_text())
    assert sample("--seed=1") == first != sample("--seed=2")
    assert sample("--seed=1", "--temperature=0") == sample("--seed=2", "--temperature=0")


@pytest.mark.slow
def test_packed_mixture_of_byte_pairs(programs, text, tmp_path):
    """Stopped and resumed; tokens come from the cache, and each source has its own metrics."""
    (tmp_path / "lines").mkdir()
    for number, line in enumerate(text.read_text().split("\n")[::2]):
        (tmp_path / "lines" / f"{number:03}.txt").write_text(line)
    workdir = tmp_path / "run"
    arguments = (
        "--config=configs/char_lm.py:tiny",
        f"--config.data.mixture={text}:0.7,{tmp_path / 'lines'}:0.3",
        "--config.data.document_separator=\n",
        "--config.data.tokenizer=bpe",
        "--config.data.vocab_size=280",
        "--config.data.sampling=packed",
        "--config.model.pattern=r",
        f"--workdir={workdir}",
    )
    programs.output("train", *arguments, "--config.train.steps=12")
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "tokens").rglob("*.npy")}
    assert len(cached) == 4
    assert "resuming from step 12" in programs.output("train", *arguments, "--config.train.steps=20")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "tokens").rglob("*.npy")} == cached
    shown = programs.output("evaluate", f"--workdir={workdir}", "--checkpoint=20")
    assert "nats per token" in shown and "\n  text.txt: loss" in shown and "\n  lines: loss" in shown
    result = json.loads((workdir / "evaluation-validation.json").read_text())
    nats = sum(result[f"{name}/loss"] * result[f"{name}/tokens"] for name in ("text.txt", "lines"))
    assert result["loss"] == pytest.approx(nats / result["tokens"])
    assert losses(workdir, "validation/lines/loss")[20] == pytest.approx(result["lines/loss"], rel=1e-6)
    assert programs.output("generate", f"--workdir={workdir}", "--prompt=the ", "--length=5").startswith("the ")


@pytest.mark.slow
@needs_mirror("tinyshakespeare/")
def test_tiny_shakespeare(programs, tmp_path):
    """The variant of configs/char_lm.py, unchanged, on the real text."""
    mirror = os.environ["XLSTM_JAX_DATA_MIRROR"]
    arguments = ("--config=configs/char_lm.py:tiny", f"--workdir={tmp_path / 'run'}")
    shown = programs.output("train", *arguments, XLSTM_JAX_DATA_MIRROR=mirror)
    assert "vocabulary 65; tokens: train 1,003,854, validation 111,541" in shown
    train = losses(tmp_path / "run", "train/loss")
    assert train[1] == pytest.approx(math.log(65), rel=0.1) and train[20] < train[1] - 0.4
    assert min(losses(tmp_path / "run", "validation/loss").values()) < 3.8
