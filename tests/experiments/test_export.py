"""A run in one file, and the serving page's program on it, which cannot import this package."""

import importlib.util
import json
import re
import subprocess
import sys
import zipfile

import jax
import pytest

from tests.data.text.test_special_tokens import TEMPLATES, with_template
from tests.experiments.conftest import ROOT, TIMEOUT
from tests.models.examples import example, small
from tests.tasks.examples import tiny_config
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.generate import sample_text
from xlstm_jax.generate.export import write_export
from xlstm_jax.train.loop import train

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
needs_flatbuffers = pytest.mark.skipif(
    importlib.util.find_spec("flatbuffers") is None, reason="flatbuffers is not installed (pip install -e '.[export]')"
)
# Run before the page's program: makes imports of the package and of modules it depends on fail.
WALL = """
import sys
for name in ("xlstm_jax", "experiments", "configs", "flax", "optax", "orbax", "grain"):
    sys.modules[name] = None
"""


@pytest.fixture
def serve(programs, tmp_path):
    """Runs the page's program, unchanged, outside of the repository."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert program.count("\n") <= 50
    path = tmp_path / "serve.py"
    path.write_text(WALL + program, encoding="utf-8")

    def run(*arguments):
        command = [sys.executable, str(path), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=programs.env, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@needs_flatbuffers
@pytest.mark.slow
def test_the_page_s_program_writes_the_same_text(programs, tiny_run, serve, tmp_path):
    """A prompt as long as a piece, and one that only partly fills its last piece."""
    out = tmp_path / "model.zip"
    shown = programs.output(
        "export", f"--workdir={tiny_run}", f"--out={out}", "--prefill_chunk=8", "--platforms=cpu,cuda"
    )
    assert shown.startswith("step 40 for cpu, cuda, any number of rows, ") and str(out) in shown
    for prompt in ("the cat ", "the cat sat on two dogs"):
        wanted = programs.output(
            "generate", f"--workdir={tiny_run}", f"--prompt={prompt}", "--length=30", "--temperature=0"
        )
        assert serve(out, prompt, 30) == wanted and len(set(wanted)) > 5
    assert [path.name for path in tmp_path.glob("*model*")] == ["model.zip"]


@needs_flatbuffers
@pytest.mark.parametrize("template", ["none", "first"])
def test_the_page_s_program_reads_byte_pairs(serve, tmp_path, template):
    """It tokenises like the run, including the template and special tokens in the prompt, and ends at the end token."""
    tokenizer = BPETokenizer(with_template(TEMPLATES[template][0]))
    model, prompt = example(small("r", vocab_size=tokenizer.vocab_size)).model(), "the é</s> cat sat"
    write_export(tmp_path / "model.zip", model, tokenizer, platforms=["cpu"], prefill_chunk=8)
    wanted = sample_text(model, tokenizer, prompt, length=6, temperature=0.0, prefill_chunk=8)
    assert wanted.startswith("<s>the" if template == "first" else "the")
    assert serve(tmp_path / "model.zip", prompt, 6) == wanted + "\n"


@pytest.fixture(scope="module")
def packed_run(tmp_path_factory):
    """A run on short packed documents with byte pairs, trained until it predicts their end."""
    folder = tmp_path_factory.mktemp("packed")
    lines = [json.dumps({"text": f"the {animal} sat on a mat"}) for animal in ("cat", "dog") * 40]
    (folder / "text.jsonl").write_text("\n".join(lines))
    config = tiny_config("language_model", folder / "text.jsonl")
    config.data.tokenizer, config.data.vocab_size, config.data.sampling = "bpe", 290, "packed"
    config.train.steps = config.train.eval_every = 60
    config.optimizer.learning_rate, config.sample.length = 1e-2, 0
    with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
        assert train(config, folder / "run") == 0
    return folder / "run"


@needs_flatbuffers
@pytest.mark.slow
def test_a_packed_run_ends_its_texts(programs, packed_run, serve, tmp_path):
    """The end token after each document is learned, and ends a text in `generate` and in the page's program."""
    asked = ("--prompt=the", "--length=40", "--temperature=0")
    text = programs.output("generate", f"--workdir={packed_run}", *asked)
    assert re.fullmatch(r"the (cat|dog) sat on a mat<\|endoftext\|>\n", text)
    on = programs.output("generate", f"--workdir={packed_run}", *asked, "--ignore_eos")
    assert on.startswith(text[:-1]) and len(on) > len(text)
    stopped = programs.output("generate", f"--workdir={packed_run}", *asked, "--ignore_eos", "--stop=<|endoftext|>")
    assert stopped == text
    programs.output("export", f"--workdir={packed_run}", f"--out={tmp_path}/model.zip")
    assert serve(tmp_path / "model.zip", "the", 40) == text


@needs_flatbuffers
def test_the_header(programs, tiny_run, tmp_path):
    """It describes the inputs of the programs, including a fixed batch size."""
    out = tmp_path / "model.zip"
    programs.output("export", f"--workdir={tiny_run}", f"--out={out}", "--batch=3")
    with zipfile.ZipFile(out) as file:
        header = json.loads(file.read("header.json"))
        assert set(file.namelist()) == {"header.json", "start.bin", "prefill.bin", "step.bin", "weights.npz"}
    assert header["tokenizer"] == json.loads((tiny_run / "codec.json").read_text())
    assert header["end_tokens"] == []
    assert header["vocabulary"] == {"kind": "char", "size": len(header["tokenizer"]["characters"])}
    assert (header["batch"], header["prefill_chunk"], header["platforms"]) == (3, 64, ["cpu"])
    assert set(header["versions"]) == {"xlstm_jax", "jax", "numpy"}
    assert header["carry"][0] == {"name": "0/conv", "shape": [3, 3, 64], "dtype": "float32"}


BAD = {
    "no workdir": (["--workdir={tmp}/none"], ["{tmp}/none holds no run"]),
    "unknown platform": (["--platforms=gpu"], ["platform 'gpu' is unknown; known: cpu, cuda, rocm, tpu"]),
    "no platform": (["--platforms="], ["--platforms= is empty; give a value"]),
    "no piece": (["--prefill_chunk=0"], ["flag --prefill_chunk=0: 0 is not an integer in the range"]),
    "no row": (["--batch=0"], ["flag --batch=0: 0 is not an integer in the range"]),
    "no folder": (["--out={tmp}/none/model.zip"], ["--out={tmp}/none/model.zip is a folder, or in a folder that"]),
    "a folder": (["--out={tmp}"], ["--out={tmp} is a folder"]),
    "no checkpoint": (["--checkpoint=7"], ["checkpoint '7' does not exist"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(programs, tiny_run, tmp_path, case):
    arguments, words = BAD[case]
    given = [f"--workdir={tiny_run}", f"--out={tmp_path}/model.zip"]  # if a flag is repeated, the last value counts
    done = programs.run("export", *given, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stdout + done.stderr
    for word in words:
        assert word.format(tmp=tmp_path) in done.stderr
    assert not list(tmp_path.glob("*model*"))
