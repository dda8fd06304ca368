"""All invalid input leads to one line that says what to do, and exit status 2."""

import pathlib
import shutil

import jax
import pytest

from tests.experiments.conftest import ROOT, Programs
from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.train.loop import train

TINY = "--config=configs/char_lm.py:tiny"
# (arguments, words of the message); {tmp} has the files of `folder`, {workdir} does not exist yet.
TRAIN = {
    "unknown key": (["--config.train.step=3"], ["config key 'train.step' is unknown", "eval_every", "steps"]),
    "unknown section": (["--config.trian.steps=3"], ["config key 'trian.steps' is unknown", "optimizer", "train"]),
    "unknown variant": (["--config=configs/char_lm.py:ltsm"], ["variant 'ltsm' is unknown", "lstm", "xlstm"]),
    "no config file": (["--config=configs/nothing.py"], ["config file 'configs/nothing.py' does not exist"]),
    "no config file, after a space": (["--config", "nothing.py"], ["config file 'nothing.py' does not exist"]),
    "wrong type": (["--config.train.steps=many"], ["train.steps", "many"]),
    "seed": (["--config.seed=9223372036854775808"], ["seed 9223372036854775808 is not allowed", "under 2**32"]),
    "wrong choice": (["--config.model.dtype=float16"], ["model.dtype 'float16'", "'float32', 'bfloat16'"]),
    "unknown block": (["--config.model.pattern=mz"], ["unknown block 'z'", "known: ", "recurrent (r)"]),
    "heads": (["--config.model.features=30"], ["model.features 30", "num_heads 4"]),
    "option without dashes": (["steps=3"], ["unexpected argument 'steps=3'", "--name=value"]),
    "unknown option": (["--wrkdir=/tmp"], ["wrkdir"]),
    "no text file": (["--config.data.path={tmp}/none.txt"], ["no file '{tmp}/none.txt'"]),
    "empty text": (["--config.data.path={tmp}/empty.txt"], ["empty.txt' is empty"]),
    "text not UTF-8": (["--config.data.path={tmp}/latin1.txt"], ["latin1.txt' is not UTF-8", "offset 3"]),
    "folder with a file not UTF-8": (["--config.data.path={tmp}"], ["latin1.txt' is not UTF-8", "offset 3"]),
    "folder without text": (["--config.data.path={tmp}/hollow"], ["'{tmp}/hollow' has no .txt files with text"]),
    "JSON lines": (["--config.data.path={tmp}/bad.jsonl"], ["bad.jsonl' line 2 is not a JSON object with a string"]),
    "tokenizer file": (
        ["--config.data.tokenizer=bpe", "--config.data.tokenizer_path={tmp}/text.txt"],
        ["'{tmp}/text.txt' is not the tokenizer.json of a byte-level BPE"],
    ),
    "tokenizer file for characters": (["--config.data.tokenizer_path=a.json"], ["is for data.tokenizer 'bpe'"]),
    "vocabulary": (["--config.data.tokenizer=bpe", "--config.data.vocab_size=99"], ["vocab_size 99", "at least 257"]),
    "mixture without weights": (["--config.data.mixture=stdlib"], ["'stdlib' is not allowed; write NAME:WEIGHT"]),
    "mixture of what is not there": (["--config.data.mixture=stdlib:1,{tmp}/no:1"], ["no file '{tmp}/no'"]),
    "mixture as a stream": (
        ["--config.data.mixture=stdlib:1", "--config.data.sampling=stream"],
        ["data.sampling 'stream' is for one source"],
    ),
    "text too short": (["--config.data.path={tmp}/short.txt"], ["sequence_length=32 needs at least 33"]),
    "prompt": (["--config.sample.prompt=%"], ["characters outside the vocabulary: '%'"]),
    "warm-up": (["--config.optimizer.warmup_steps=30"], ["optimizer.warmup_steps 30 is more than train.steps 20"]),
    "steps to be traced": (
        ["--profile_steps=15:10"],
        ["--profile_steps=15:10", "such as 10:15"],
    ),
    "steps that are not taken": (["--profile_steps=15:21"], ["15:21 is not allowed; must be within steps 1 to 20"]),
    "accumulation": (["--config.train.accumulate=5"], ["batch_size 8 is not divisible by train.accumulate 5"]),
    "no network": (["--config.data.path="], ["could not fetch tinyshakespeare/input.txt", "XLSTM_JAX_DATA_MIRROR"]),
}
SAVED = {
    "workdir of another config": ("train", [TINY, "--config.seed=5"], ["another config", "seed (saved 0, given 5)"]),
    "missing workdir": ("generate", ["--workdir={tmp}/none"], ["{tmp}/none holds no run"]),
    "workdir not given": ("evaluate", ["--nocarry"], ["give one of --workdir and --huggingface"]),
    "prompt outside the vocabulary": ("generate", ["--prompt=a%"], ["outside the vocabulary: '%'"]),
    "empty prompt": ("generate", ["--prompt="], ["the prompt is empty"]),
    "options of sampling": ("generate", ["--top_p=0"], ["--top_p 0.0 is not allowed", "over 0"]),
    "length": ("generate", ["--length=0"], ["--length 0 is not allowed", "must be 1 to"]),
    "no such checkpoint": ("evaluate", ["--checkpoint=7"], ["checkpoint '7' does not exist", "best, latest", "2, 4"]),
    "unknown split": ("evaluate", ["--split=test"], ["split 'test' is unknown", "train, validation"]),
    "damaged codec": (
        "generate",
        ["--checkpoint=4"],
        ["checkpoints/4 is damaged (codec/metadata has changed since it was saved); choose best"],
    ),
    "damaged arrays": (
        "evaluate",
        ["--checkpoint=4"],
        ["checkpoints/4 is damaged (state/", "best, latest, or one of 2"],
    ),
    "all damaged": ("evaluate", [], ["is damaged (state/", "no other checkpoint is left"]),
    "damaged config": ("evaluate", [], ["config.json", "damaged"]),
}


def check(programs: Programs, name, arguments, words, folder: pathlib.Path, **env):
    done = programs.run(name, *arguments, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert len(lines[0]) < 700
    for word in words:
        assert word.format(tmp=folder) in lines[0]


@pytest.fixture
def folder(tmp_path):
    write_text(tmp_path / "text.txt")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "latin1.txt").write_bytes("caf\xe9 au lait".encode("latin-1") * 100)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"words": "b"}\n', encoding="utf-8")
    (tmp_path / "short.txt").write_text("thirty-two characters? Not quite", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("case", TRAIN)
def test_train(programs, folder, case):
    """Nothing is written."""
    arguments, words = TRAIN[case]
    arguments = [argument.format(tmp=folder) for argument in arguments]
    given = [TINY, f"--config.data.path={folder}/text.txt", f"--workdir={folder}/run"]
    if arguments[0].split("=")[0] == "--config":
        given = given[2:]
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    check(programs, "train", [*given, *arguments], words, folder, **closed)
    assert not (folder / "run").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workdir with checkpoints of steps 2 and 4, wide enough that arrays have separate files."""
    folder = tmp_path_factory.mktemp("trained")
    config = tiny_config("language_model", write_text(folder / "text.txt"))
    config.model.pattern, config.model.recurrent.cell, config.model.features = "r", "rnn", 64
    config.train.steps, config.train.eval_every, config.sample.length = 4, 2, 0
    with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
        assert train(config, folder / "run") == 0
    return folder


HARM = {
    "damaged codec": "checkpoints/4/codec/metadata",
    "damaged arrays": "checkpoints/4/state/**/d/*",
    "all damaged": "checkpoints/*/state/**/d/*",
    "damaged config": "config.json",
}


@pytest.mark.parametrize("case", SAVED)
def test_saved_run(programs, trained, tmp_path, case):
    """The run is not changed."""
    name, arguments, words = SAVED[case]
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    workdir = shutil.copytree(trained / "run", tmp_path / "run")
    for path in workdir.glob(HARM[case]) if case in HARM else ():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name == "train":
        arguments.append(f"--config.data.path={trained}/text.txt")
    if case not in ("missing workdir", "workdir not given"):
        arguments.append(f"--workdir={workdir}")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    check(programs, name, arguments, words, tmp_path)
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_reader_that_leaves_is_no_error(programs, trained):
    """As with `| head -1`."""
    process = programs.start("generate", f"--workdir={trained}/run", "--length=5")
    process.stdout.close()
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def test_programs_run_from_the_root():
    assert (ROOT / "experiments" / "train.py").is_file()
