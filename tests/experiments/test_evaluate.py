"""Evaluation of a run and of an official checkpoint on texts that they were not trained on."""

import json
import math

import jax
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.train.loop import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with an "x" block on byte pairs, and two texts that it has not seen."""
    folder = tmp_path_factory.mktemp("evaluated")
    config = tiny_config("language_model", write_text(folder / "text.txt"))
    config.model.pattern, config.model.norm, config.model.features, config.model.norm_eps = "x", "rms", 16, 1e-6
    config.data.tokenizer, config.data.vocab_size, config.sample.length = "bpe", 300, 0
    config.train.steps = config.train.eval_every = 4
    with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
        assert train(config, folder / "run") == 0
    (folder / "one.txt").write_text("first words of a text that nobody has read, again and again. " * 9)
    (folder / "two.txt").write_text("é è ê: letters of two bytes, each. " * 7)
    return folder


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_other_texts_with_the_figures_of_each(programs, folder, tmp_path):
    """Each text is covered exactly once: all tokens but the first are targets, and all bytes but those of the first."""
    texts = f"--texts={folder}/one.txt,{folder}/two.txt"
    shown = programs.output("evaluate", f"--workdir={folder}/run", texts, f"--out={tmp_path}/out")
    result = read(tmp_path / "out" / "evaluation-all-texts.json")
    assert (result["step"], result["split"], len(result["texts"])) == (4, "all", 2)
    from xlstm_jax.train.workdir import saved

    tokenizer = saved.load(folder / "run")[0].task.codec
    for name in ("one.txt", "two.txt"):
        tokens = tokenizer.encode((folder / name).read_text())
        end = tokenizer.end_token is not None
        assert result[f"{name}/tokens"] == len(tokens) - 1 + end
        size = (folder / name).stat().st_size - tokenizer.bytes_per_token[tokens[0]]
        bits = result[f"{name}/loss"] * result[f"{name}/tokens"] / math.log(2) / size
        assert result[f"{name}/bits_per_byte"] == pytest.approx(bits)
        assert result[f"{name}/perplexity"] == pytest.approx(math.exp(result[f"{name}/loss"]))
        assert f"{name}: loss {result[f'{name}/loss']:.4f}, perplexity" in shown
    nats = sum(result[f"{name}/loss"] * result[f"{name}/tokens"] for name in ("one.txt", "two.txt"))
    assert result["loss"] == pytest.approx(nats / result["tokens"])


def test_an_official_checkpoint_is_evaluated_as_the_run_it_came_from(programs, folder, tmp_path):
    programs.output("convert", f"--from_workdir={folder}/run", f"--to_huggingface={tmp_path}/model")
    sizes = (f"--texts={folder}/one.txt", "--sequence_length=24", "--batch_size=3")
    for source, out in ((f"--huggingface={tmp_path}/model", "official"), (f"--workdir={folder}/run", "run")):
        programs.output("evaluate", source, *sizes, f"--out={tmp_path}/{out}", "--carry")
    official, run = (read(tmp_path / out / "evaluation-all-texts-carry.json") for out in ("official", "run"))
    assert official.pop("folder") == f"{tmp_path}/model" and run.pop("step") == 4
    assert [official.pop(key) for key in ("texts", "split")] == [run.pop(key) for key in ("texts", "split")]
    assert official == pytest.approx(run, rel=1e-6) and official["tokens"] > 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--huggingface={folder}/run"], "--huggingface needs --texts"),
        (["--huggingface={folder}/run", "--texts=stdlib", "--out={folder}/out"], "run"),
        (["--workdir={folder}/run", "--texts={folder}/none.txt"], "no file '{folder}/none.txt'"),
        (["--workdir={folder}/run", "--texts=stdlib,stdlib"], "names 'stdlib' twice"),
        (
            ["--workdir={folder}/run", "--sequence_length=0"],
            "flag --sequence_length=0: 0 is not an integer in the range",
        ),
        (["--workdir={folder}/run", "--out={folder}/one.txt"], "cannot be made"),
        (["--workdir={folder}/run", "--json", "--positions"], "--json does not apply to --positions"),
    ],
)
def test_one_line(programs, folder, arguments, message):
    done = programs.run("evaluate", *(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert message.format(folder=folder) in done.stderr and not (folder / "out").exists()
