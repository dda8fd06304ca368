"""Conversion of runs and folders to Hugging Face folders from the command line."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.models.golden.make_huggingface import FOLDER as GOLDEN
from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.models import huggingface
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Workdirs with steps 2 and 4: one with an "x" block and byte pairs, one with another model."""
    folder = tmp_path_factory.mktemp("trained")
    for pattern, norm, kind in (("x", "rms", "bpe"), ("r", "layer", "byte")):
        config = tiny_config("language_model", write_text(folder / "text.txt"))
        config.model.pattern, config.model.norm, config.model.features = pattern, norm, 16
        config.model.norm_eps, config.train.steps, config.train.eval_every = 1e-6, 4, 2
        config.sample.length, config.data.tokenizer, config.data.vocab_size = 0, kind, 300
        with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
            assert train(config, folder / pattern) == 0
    return folder


def test_a_run(programs, runs, tmp_path):
    """The logits are those of the selected checkpoint."""
    written = []
    for step in (2, 4):
        out = tmp_path / str(step)
        arguments = (f"--from_workdir={runs / 'x'}", f"--checkpoint={step}", f"--to_huggingface={out}")
        shown = programs.output("convert", *arguments)
        assert f"step {step} " in shown and f"written to {out}" in shown
        run, params, _ = saved.load(runs / "x", str(step))
        tokens = np.arange(12, dtype=np.int32).reshape(2, 6)
        written.append(np.asarray(jax.jit(huggingface.load(out))(tokens)))
        assert np.array_equal(written[-1], jax.jit(run.model(params))(tokens))
    assert not np.array_equal(*written)


def test_byte_pairs_go_along(programs, runs, tmp_path):
    """The folder generates the same text as the run, and `transformers` loads its tokenizer, with a named end token."""
    out = tmp_path / "folder"
    programs.output("convert", f"--from_workdir={runs / 'x'}", f"--to_huggingface={out}")
    asked = ("--prompt=the first", "--length=12", "--temperature=0")
    theirs = programs.output("generate", f"--huggingface={out}", *asked)
    assert theirs.splitlines()[0] == programs.output("generate", f"--workdir={runs / 'x'}", *asked).splitlines()[0]
    tokenizer = saved.load(runs / "x", "best")[0].task.codec
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == tokenizer.end_token
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    same = transformers.AutoTokenizer.from_pretrained(out)
    assert same.eos_token_id == tokenizer.end_token
    assert same("the first").input_ids == tokenizer.encode("the first").tolist()


def test_a_folder_in_another_form(programs, tmp_path):
    """Fused, in several files, in float32, with further keys and the tokenizer; and back again, bit by bit."""
    start = tmp_path / "start"
    huggingface.save(huggingface.load(GOLDEN, param_dtype="file"), start, config={"eos_token_id": 2})
    (start / "tokenizer.json").write_text('{"mine": 1}')
    shapes = ("--weight_mode=fused", "--dtype=float32", "--max_shard_mb=1")
    programs.output("convert", f"--from_huggingface={start}", f"--to_huggingface={tmp_path / 'fused'}", *shapes)
    values = json.loads((tmp_path / "fused" / "config.json").read_text())
    assert (values["weight_mode"], values["dtype"], values["eos_token_id"]) == ("fused", "float32", 2)
    assert (tmp_path / "fused" / "tokenizer.json").read_text() == '{"mine": 1}'
    back = ("--dtype=bfloat16", f"--from_huggingface={tmp_path / 'fused'}", f"--to_huggingface={tmp_path / 'back'}")
    programs.output("convert", *back)
    first, last = (load_file(folder / "model.safetensors") for folder in (GOLDEN, tmp_path / "back"))
    assert first.keys() == last.keys() and all(np.array_equal(first[name], last[name]) for name in first)


BAD = {
    "no source": ([], "give one of --from_workdir and --from_huggingface"),
    "two sources": (["--from_workdir={runs}/x", "--from_huggingface={runs}"], "give one of --from_workdir and"),
    "no run": (["--from_workdir={runs}"], "holds no run"),
    "no folder": (["--from_huggingface={runs}/none"], "config.json does not exist"),
    "other blocks": (["--from_workdir={runs}/r"], "model.pattern 'r' does not fit the format"),
    "taken": (["--from_workdir={runs}/x", "--to_huggingface={runs}/x"], "not empty; give a new folder"),
    "weight_mode": (["--from_workdir={runs}/x", "--weight_mode=s"], "weight_mode 's' is unknown; allowed: 'single',"),
    "no out": (["--from_workdir={runs}/x", "--to_huggingface="], "--to_huggingface= is empty; give a value"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_line(programs, runs, tmp_path, case):
    arguments, words = BAD[case]
    arguments = [f"--to_huggingface={tmp_path / 'out'}", *(argument.format(runs=runs) for argument in arguments)]
    done = programs.run("convert", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
