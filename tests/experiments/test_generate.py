"""Sampling from the command line: several prompts, streaming, and texts that are saved and continued."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import example, small
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.generate import generate
from xlstm_jax.models import huggingface

# Most runs use one size of program, so it is compiled only once.
COMMON = ("--prefill_chunk=16",)


@pytest.fixture
def sample(programs, tiny_run):
    return lambda *options, **more: programs.output("generate", f"--workdir={tiny_run}", *COMMON, *options, **more)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--temperature=0.8", "--seed=3"), id="drawn"),
        pytest.param(("--temperature=0",), id="greedy", marks=pytest.mark.slow),
    ],
)
def test_a_saved_text_goes_on_exactly(sample, tmp_path, options):
    """20 tokens at once equal 8 tokens, a saved state, and 12 more; each run prints the whole text."""
    whole = sample("--prompt=the ", "--length=20", *options)
    first = sample("--prompt=the ", "--length=8", f"--save_state={tmp_path}/state", *options)
    second = sample("--length=12", f"--from_state={tmp_path}/state", f"--save_state={tmp_path}/after", options[0])
    assert len(whole) == len("the ") + 20 + len("\n")
    assert (first, second) == (whole[:12] + "\n", whole)
    assert {path.name for path in tmp_path.iterdir()} == {"state", "after"}
    # A further prompt continues the text, as if everything were one prompt.
    if options == ("--temperature=0",):
        more = sample("--prompt=cat", "--length=5", f"--from_state={tmp_path}/state", *options)
        assert more == sample(f"--prompt={first[:-1]}cat", "--length=5", *options)


@pytest.mark.slow
def test_text_as_it_comes(programs, tiny_run):
    """The output is the same; each program is compiled once, and the speed is printed to standard error."""
    arguments = (f"--workdir={tiny_run}", *COMMON, "--prompt=the ", "--length=20", "--seed=3")
    done, streamed = (programs.run("generate", *arguments, *more, JAX_LOG_COMPILES="1") for more in ((), ("--stream",)))
    assert done.returncode == streamed.returncode == 0, done.stderr + streamed.stderr
    assert done.stdout == streamed.stdout
    for err in (done.stderr, streamed.stderr):
        rates = (
            r"read 4 tokens in [\d.]+ s \([\d,]+ tokens/s\), wrote 20 tokens in [\d.]+ s \([\d,]+ tokens/s\) \(1 text,"
        )
        assert re.match(rates, err.splitlines()[-1])
        compiled = re.findall(r"Compiling (?:jit\()?(_read|_loop)\b", err)
        assert sorted(compiled) == ["_loop", "_read"], err


@pytest.mark.slow
def test_several_prompts(sample, tmp_path):
    """From a file and from flags; each greedy text equals that of its prompt alone, up to the stop token."""
    (tmp_path / "prompts.txt").write_text("the cat\na\n", encoding="utf-8")
    options = ("--length=12", "--temperature=0", "--stop= ")
    together = sample(f"--prompts_file={tmp_path}/prompts.txt", *options)
    assert together == sample("--prompt=the cat", "--prompt=a", *options)
    texts = re.fullmatch(r"--- text 1 of 2 ---\n(.*)\n--- text 2 of 2 ---\n(.*)\n", together, re.DOTALL).groups()
    for text, prompt in zip(texts, ("the cat", "a"), strict=True):
        free = sample(f"--prompt={prompt}", "--length=12", "--temperature=0")[:-1]
        added = free[len(prompt) :]
        assert text == prompt + (added.partition(" ")[0] + " " if " " in added else added)


def test_an_official_checkpoint(programs, tmp_path):
    """A folder with weights and a tokenizer: the greedy text is the model's own.

    It begins with the template's token, special tokens in the prompt are recognised, and the text ends at the end token
    of config.json, unless --ignore_eos is given.
    """
    model, tokenizer, folder = checkpoint(tmp_path)
    prompt = np.array([*tokenizer.prefix, *tokenizer.encode("the"), *tokenizer.prefix, *tokenizer.encode(" cat")])
    wanted = np.asarray(generate(model, jnp.asarray(prompt, jnp.int32)[None], length=10, temperature=0.0)[0]).tolist()
    end = next(n for n in range(3, 10) if wanted[n] not in wanted[:n])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": [259, wanted[end]]}))
    asked = ("--prompt=the<|endoftext|> cat", "--length=10", "--temperature=0")
    # The tokenizer's end token, which config.json does not name, ends a text only if --stop names it.
    whole = wanted.index(0) + 1 if 0 in wanted else 10
    for more, length in (((), end + 1), (("--ignore_eos", "--stop=<|endoftext|>"), whole)):
        text = programs.output("generate", f"--huggingface={folder}", *COMMON, *asked, *more)
        assert text == tokenizer.decode(np.concatenate([prompt, wanted[:length]])) + "\n"


def test_a_tokenizer_of_another_checkpoint(programs, tmp_path):
    _, _, folder = checkpoint(tmp_path, vocab_size=100)
    failed = programs.run("generate", f"--huggingface={folder}", "--prompt=a")
    assert failed.returncode == 2 and "tokenizer.json has 260 tokens, but the model has 100" in failed.stderr


def checkpoint(tmp_path, vocab_size=260):
    """A small model, a byte-level BPE tokenizer with 260 tokens, and the folder with both."""
    tokenizer = BPETokenizer.from_text("the cat sat on the mat and the dog", vocab_size=260)
    config = small("x", vocab_size=vocab_size, norm="rms", norm_eps=1e-6)
    model = example(config).model()
    huggingface.save(model, tmp_path / "folder")
    data = tokenizer.to_json()["tokenizer"]
    start = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }
    (tmp_path / "folder" / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = BPETokenizer.from_json({"tokenizer": data})
    return model, tokenizer, tmp_path / "folder"


BAD = {
    "temperature nan": (["--temperature=nan"], ["--temperature nan is not allowed; must be 0 (greedy)"]),
    "temperature": (["--temperature=-1"], ["--temperature -1.0 is not allowed"]),
    "seed": (
        ["--seed=9223372036854775808"],
        ["--seed 9223372036854775808 is not allowed; must be 0 to"],
    ),
    "length": (["--length=2147483648"], ["--length 2147483648 is not allowed; must be 1 to 2147483647"]),
    "both kinds of prompts": (["--prompt=a", "--prompts_file=x"], ["--prompt and --prompts_file are both given"]),
    "no file of prompts": (["--prompts_file={tmp}/none"], ["cannot read prompts from '{tmp}/none'"]),
    "an empty line": (["--prompts_file={tmp}/gap.txt"], ["line 2 of '{tmp}/gap.txt' is empty"]),
    "prompts not UTF-8": (["--prompts_file={tmp}/latin1.txt"], ["cannot read prompts", "give UTF-8 text"]),
    "a stream of two": (["--prompt=a", "--prompt=b", "--stream"], ["--stream shows one text, but there are 2"]),
    "a long stop": (["--stop=cat"], ["--stop='cat' is 3 tokens"]),
    "no place for the state": (["--save_state={tmp}/none/state"], ["its folder does not exist"]),
    "no state": (["--from_state={tmp}/none"], ["no state file '{tmp}/none'"]),
    "a text for a state": (["--from_state={tmp}/gap.txt"], ["gap.txt' cannot be read"]),
    "a seed for a state": (["--from_state={tmp}/x", "--seed=1"], ["--seed has no effect with --from_state"]),
    "too few prompts": (["--from_state={tmp}/two", "--prompt=a"], ["holds 2 texts, but 1 prompts are given"]),
    "a piece of no token": (["--prefill_chunk=0"], ["prefill_chunk 0 is not allowed"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_run):
    from xlstm_jax.generate import init_state, save_state
    from xlstm_jax.train.workdir import saved

    folder = tmp_path_factory.mktemp("bad")
    (folder / "gap.txt").write_text("a\n\nb\n", encoding="utf-8")
    (folder / "latin1.txt").write_bytes("caf\xe9".encode("latin-1"))
    run, params, _ = saved.load(tiny_run)
    save_state(folder / "two", init_state(run.model(params), 2), [np.zeros(3, np.int32)] * 2)
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input(programs, tiny_run, folder, case):
    arguments, words = BAD[case]
    arguments = [argument.format(tmp=folder) for argument in arguments]
    before = sorted(path.name for path in folder.iterdir())
    done = programs.run("generate", f"--workdir={tiny_run}", "--length=5", *arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stdout + done.stderr
    for word in words:
        assert word.format(tmp=folder) in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before
