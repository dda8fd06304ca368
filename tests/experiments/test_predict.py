"""Predictions of trained runs and of exported files: answers, batches, and what is refused."""

import importlib.util
import json

import jax
import numpy as np
import pytest

from tests.tasks.examples import tiny_config
from xlstm_jax.data.codecs import Numbers, Symbols
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state

needs_flatbuffers = pytest.mark.skipif(
    importlib.util.find_spec("flatbuffers") is None, reason="flatbuffers is not installed (pip install -e '.[export]')"
)
# (data, lines of input, what an answer has)
LANGUAGES = {"language": "reverse_string", "long_length": 0}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run that reverses strings, after a few steps."""
    folder = tmp_path_factory.mktemp("predict")
    config = tiny_config("formal_language", folder)
    config.data.update(LANGUAGES)
    config.model.pattern, config.model.features = "r", 8
    config.train.steps = config.train.eval_every = 4
    import jax

    with jax.numpy_dtype_promotion("standard"):
        assert train(config, folder / "run") == 0
    return folder / "run"


def lines(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.removesuffix("\n").split("\n")]


def test_answers_do_not_depend_on_their_batch(programs, workdir, tmp_path):
    """One at a time, all at once, in a file, or by name of the symbols; answers are as long as the task says."""
    # A line ends at a newline alone: U+2028 is only another space.
    (tmp_path / "in.txt").write_text("s0 s1 s2 ACT\r\ns3\u2028ACT\ns1 s1 s4 s9 s0 ACT", encoding="utf-8")
    arguments = (f"--workdir={workdir}", f"--input={tmp_path}/in.txt")
    together = lines(programs.run("predict", *arguments, "--json"))
    assert [len(answer["answer"].split()) for answer in together] == [3, 1, 5]
    assert all(0 < answer["probability"] <= 1 for answer in together)
    apart = lines(programs.run("predict", *arguments, "--json", "--batch_size=1"))
    assert [one["answer"] for one in apart] == [one["answer"] for one in together]
    shown = programs.output("predict", *arguments)
    assert shown.count("answer: ") == 3 and "s3\u2028ACT\n    answer: " in shown
    shown = programs.output("predict", *arguments, f"--output={tmp_path}/out.jsonl")
    assert "3 answers of step 4 written to" in shown
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().split("\n")[:-1]] == together


@needs_flatbuffers
@pytest.mark.slow
def test_an_exported_file_answers_as_the_run_does(programs, workdir, tmp_path):
    out = tmp_path / "task.zip"
    shown = programs.output("export", f"--workdir={workdir}", f"--out={out}", "--longest=12")
    assert "inputs of up to 12 steps" in shown  # the programs are of 8 and 16
    (tmp_path / "in.txt").write_text("s0 s1 s2 ACT\n" + "s1 " * 9 + "ACT\n", encoding="utf-8")
    ours, theirs = (
        lines(programs.run("predict", source, f"--input={tmp_path}/in.txt", "--json"))
        for source in (f"--workdir={workdir}", f"--exported={out}")
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one["answer"] == other["answer"] and one["probability"] == pytest.approx(other["probability"], rel=1e-4)
    (tmp_path / "long.txt").write_text("s1 " * 20 + "ACT\n", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere.zip"
    programs.output("export", f"--workdir={workdir}", f"--out={elsewhere}", "--longest=8", "--platforms=cuda")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(out.read_bytes()[:-100])
    for source, text, message in (
        (out, "long.txt", "an input has more than 16 steps, the most that task.zip takes"),
        (damaged, "in.txt", "cannot be read as an exported task"),
        (elsewhere, "in.txt", "elsewhere.zip is for cuda, and this is cpu; export it for this platform"),
        (tmp_path / "none.zip", "in.txt", "no file"),
    ):
        done = programs.run("predict", f"--exported={source}", f"--input={tmp_path}/{text}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and message in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", (), "is empty; give one example per line"),
        (b"s0 \xff ACT\n", (), "give a file of UTF-8 text"),
        (b"s0 ACT\nboo ACT\n", (), "line 2 of .* symbol 'boo' is unknown; the symbols are . ACT s0"),
        (b"s0 ACT\n\n", (), "line 2 of .* the input is empty; give at least one symbol"),
        (None, (), "cannot read .* No such file"),
        (b"s0 ACT\n", ("--output={tmp}/none/out.jsonl",), "its folder does not exist; give a file in one that does"),
        (b"s0 ACT\n", ("--checkpoint=7",), "checkpoint '7' does not exist"),
    ],
)
def test_bad_input(programs, workdir, tmp_path, content, options, message):
    import re

    path = tmp_path / "in.txt"
    if content is not None:
        path.write_bytes(content)
    options = [option.format(tmp=tmp_path) for option in options]
    done = programs.run("predict", f"--workdir={workdir}", f"--input={path}", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and re.search(message, done.stderr)
    assert sorted(tmp_path.iterdir()) == ([] if content is None else [path])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("generate", ["--workdir={run}", "--prompt=s0"]),
        ("convert", ["--from_workdir={run}", "--to_huggingface={tmp}/folder"]),
        ("evaluate", ["--workdir={run}", "--positions", "--out={tmp}/positions"]),
    ],
)
def test_what_only_a_language_model_can_do(programs, workdir, tmp_path, name, options):
    done = programs.run(name, *(option.format(run=workdir, tmp=tmp_path) for option in options))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "holds no language model" in done.stderr or "--positions is for language models" in done.stderr
    assert not (tmp_path / "folder").exists()


def test_a_language_model_points_to_generate(programs, tiny_run, tmp_path):
    (tmp_path / "in.txt").write_text("the cat\n")
    done = programs.run("predict", f"--workdir={tiny_run}", f"--input={tmp_path}/in.txt")
    assert done.returncode == 2 and "use experiments.generate --workdir=DIR --prompt=TEXT" in done.stderr


# One task of each codec and of each form of answer.
QUICK = ("adding", "embedded_reber", "formal_language", "sentiment")


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
        for name in TASKS.names()
        if name != "language_model"
    ],
)
def test_every_task_answers(task, rolled, tmp_path):
    """A row of training data, typed: it is read as it was, and its answer is JSON that a codec read back gives too."""
    config = tiny_config(task, tmp_path)
    config.model.pattern, config.model.features = "r", 8
    try:
        parts = build(config.to_dict())
    except UsageError as error:
        pytest.skip(f"its data are not there: {error}")
    params = init_state(parts).params
    batch = next(iter(parts.task.train_batches(0)))
    lengths_B = getattr(batch, "lengths_B", None)
    length = batch[0].shape[1] if lengths_B is None else lengths_B[0]
    if not hasattr(parts.task.codec, "decode"):
        pytest.skip("a row of its batches is a part of an input; its inputs are files")
    text = parts.task.codec.decode(batch[0][0, :length])
    example = parts.task.read(text)
    if isinstance(parts.task.codec, Symbols | Numbers):
        np.testing.assert_array_equal(example, batch[0][0, :length])
    again = type(parts.task)(parts.task.config, parts.task.codec_from_json(parts.task.codec.to_json()))
    (answer, other) = (
        one.render(jax.tree.map(lambda leaf: leaf[0], predict(parts, params, one.collate([example]))), example)
        for one in (parts.task, again)
    )
    assert json.loads(json.dumps(answer)) == other and answer
    # Padded to a power of two, unless all inputs have one length.
    short, long = (parts.task.collate([parts.task.blank(length)])[0].shape for length in (9, 16))
    assert short == long and short[0] == 1
