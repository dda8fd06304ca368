"""Sample from a trained run: python -m experiments.generate --workdir=/tmp/lstm --prompt="To be" --length=300

To sample from a checkpoint such as NX-AI/xLSTM-7b, give --huggingface=FOLDER, a folder with config.json, safetensors
and tokenizer.json. A text ends at the model's end token, if it has one.
"""

import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from experiments.programs import cli
from experiments.programs import official_folder as official
from xlstm_jax.errors import UsageError, one_line

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_HUGGINGFACE = flags.DEFINE_string("huggingface", None, "folder of an official checkpoint, instead of a run")
_DTYPE = flags.DEFINE_string("dtype", "float32", "dtype of matrix products for --huggingface: float32 or bfloat16")
_PROMPT = flags.DEFINE_multi_string("prompt", None, "text to continue; several form a batch; default: a newline")
_PROMPTS_FILE = flags.DEFINE_string("prompts_file", None, "UTF-8 file with one prompt per line; -: standard input")
_LENGTH = flags.DEFINE_integer("length", 300, "maximum number of tokens to generate")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.8, "sampling temperature; 0 is greedy")
_TOP_K = flags.DEFINE_integer("top_k", 0, "sample from the k most likely tokens; 0: all")
_TOP_P = flags.DEFINE_float("top_p", 1.0, "sample from the fewest tokens whose probabilities sum to p; 1: all")
_STOP = flags.DEFINE_multi_string("stop", [], "another token that ends a text, as text or as a special token's name")
_IGNORE_EOS = flags.DEFINE_boolean("ignore_eos", False, "continue after the model's end token")
_SEED = flags.DEFINE_integer("seed", 0, "random seed; the same seed produces the same text")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step")
_STREAM = flags.DEFINE_boolean("stream", False, "print the text while it is generated; one text only")
_PREFILL_CHUNK = flags.DEFINE_integer("prefill_chunk", 512, "prompt tokens to process at once")
_SAVE_STATE = flags.DEFINE_string("save_state", None, "file to save the state to, for --from_state")
_FROM_STATE = flags.DEFINE_string("from_state", None, "continue from a saved state, after reading the prompts, if any")

STREAM_TOKENS = 8  # tokens between two updates of a text printed while it is generated
AT_ONCE = 1024  # tokens per call of the compiled program, whose buffer stays small for texts of any length


def main() -> None:
    prompts = _prompts()
    if _SAVE_STATE.value and not Path(_SAVE_STATE.value).absolute().parent.is_dir():
        raise UsageError(f"--save_state={_SAVE_STATE.value}: its folder does not exist; create it first")
    if _SAVE_STATE.value and Path(_SAVE_STATE.value).is_dir():
        raise UsageError(f"--save_state={_SAVE_STATE.value} is a folder; give a file in it")
    if _FROM_STATE.value and flags.FLAGS["seed"].present:
        raise UsageError("--seed has no effect with --from_state, which also restores the random state; leave it out")
    cli.start_jax()
    from xlstm_jax.generate import TextStream, check_options, save_state

    drawing = {"temperature": _TEMPERATURE.value, "top_k": _TOP_K.value, "top_p": _TOP_P.value}
    check_options(length=_LENGTH.value, seed=_SEED.value, mark="--", **drawing)
    model, tokenizer, ends = _of_run() if _WORKDIR.value else _of_folder()
    stop = [*(() if _IGNORE_EOS.value else ends), *(_stop_token(tokenizer, text) for text in _STOP.value)]
    options = drawing | {"stop": stop}
    start, texts, new_BT, lengths_B = _start(model, tokenizer, prompts)
    if _STREAM.value and len(texts) > 1:
        raise UsageError(f"--stream shows one text, but there are {len(texts)}; leave it out")
    stream = TextStream(tokenizer) if _STREAM.value else None

    def show(tokens) -> None:
        if stream is not None:
            print(stream.feed(tokens), end="", flush=True)

    show(texts[0])
    state, report = _write(model, start, texts, new_BT, lengths_B, options, show)
    if stream is not None:
        print(stream.finish(), flush=True)
    else:
        for number, tokens in enumerate(texts, start=1):
            if len(texts) > 1:
                print(f"--- text {number} of {len(texts)} ---")
            print(tokenizer.decode(np.array(tokens)), flush=True)
    if _SAVE_STATE.value:
        save_state(_SAVE_STATE.value, state, texts)
    from xlstm_jax.console import plain_console

    plain_console(stderr=True).print(report, style="dim")


def _of_run():
    from xlstm_jax.generate import end_tokens
    from xlstm_jax.train.workdir import saved

    trained = saved.load_language_model(_WORKDIR.value, _CHECKPOINT.value)
    codec = trained.parts.task.codec
    return trained.model, codec, end_tokens(codec)


def _of_folder():
    model, tokenizer = official.load(_HUGGINGFACE.value, _DTYPE.value)
    return model, tokenizer, official.end_tokens(_HUGGINGFACE.value, model.config.vocab_size, tokenizer)


def _prompts() -> list[str]:
    """The prompts from the flags; empty if there are none."""
    if _PROMPTS_FILE.value is None:
        return _PROMPT.value or []
    if _PROMPT.value:
        raise UsageError("--prompt and --prompts_file are both given; give only one of them")
    name = "standard input" if _PROMPTS_FILE.value == "-" else repr(_PROMPTS_FILE.value)
    try:
        data = sys.stdin.buffer.read() if _PROMPTS_FILE.value == "-" else Path(_PROMPTS_FILE.value).read_bytes()
        lines = data.decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read prompts from {name}: {one_line(error)}; give UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            raise UsageError(f"line {number} of {name} is empty; each line must be a prompt of at least one token")
    return lines


def _stop_token(tokenizer, text: str) -> int:
    tokens = tokenizer.encode(text, special=True)
    if len(tokens) != 1:
        raise UsageError(f"--stop={text!r} is {len(tokens)} tokens of this model; give a text that is one token")
    return int(tokens[0])


def _start(model, tokenizer, prompts: list[str]):
    """Returns the initial state, each row's tokens so far with the new ones, and the new ones padded, with lengths."""
    from xlstm_jax.generate import encode_prompts, init_state, load_state

    if _FROM_STATE.value:
        state, before = load_state(_FROM_STATE.value, model)
        prompts = prompts or [""] * len(before)
        if not len(prompts) == len(before) == len(state.done_B):
            raise UsageError(
                f"{_FROM_STATE.value} holds {len(before)} texts, but {len(prompts)} prompts are given; give one for "
                "each text, or none"
            )
    else:
        prompts = prompts or ["" if tokenizer.prefix else "\n"]
        state, before = init_state(model, len(prompts), _SEED.value), [()] * len(prompts)
    new_BT, lengths_B = encode_prompts(tokenizer, prompts, begin=not _FROM_STATE.value)
    if not _FROM_STATE.value and not lengths_B.all():
        raise UsageError("the prompt is empty; give at least one token")
    texts = [
        [*map(int, tokens), *row[:length].tolist()]
        for tokens, row, length in zip(before, new_BT, lengths_B, strict=True)
    ]
    return state, texts, new_BT, lengths_B


def _write(model, state, texts: list[list[int]], new_BT, lengths_B, options: dict, show):
    """Reads the prompts and appends tokens to `texts`. Returns the state after them and a line about the speed."""
    import jax

    from xlstm_jax.generate import decode, piece_sizes, prefill

    def read(new_BT, lengths_B):
        return prefill(model, new_BT, lengths=lengths_B, state=state, prefill_chunk=_PREFILL_CHUNK.value)

    left, counts = _LENGTH.value, [0] * len(texts)
    room = min(STREAM_TOKENS if _STREAM.value else AT_ONCE, left)
    begun = time.monotonic()
    # Run each program once on zero tokens, so that the times below do not include compilation.
    ready = [read(new_BT[:, :size], 0 * lengths_B) for size in piece_sizes(new_BT.shape[1], _PREFILL_CHUNK.value)]
    jax.block_until_ready((ready, decode(model, state, length=0, room=room, **options)))
    ready = time.monotonic()
    state = jax.block_until_ready(read(new_BT, lengths_B))
    has_read = time.monotonic()
    while left and not (options["stop"] and bool(state.done_B.all())):
        decoded = decode(model, state, length=min(room, left), room=room, **options)
        for row, (tokens_T, length) in enumerate(zip(*jax.device_get(decoded[:2]), strict=True)):
            texts[row] += tokens_T[:length].tolist()
            counts[row] += int(length)
        state, left = decoded.state, left - room if left > room else 0
        show(texts[0][len(texts[0]) - int(decoded.lengths_B[0]) :])
    written = time.monotonic()
    return state, (
        f"read {_rate(int(lengths_B.sum()), has_read - ready)}, wrote {_rate(sum(counts), written - has_read)} "
        f"({len(texts)} {'text' if len(texts) == 1 else 'texts'}, programs ready after {ready - begun:.1f} s)"
    )


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens:,} tokens in {seconds:.2f} s ({tokens / max(seconds, 1e-9):,.0f} tokens/s)"


if __name__ == "__main__":
    flags.mark_flags_as_mutual_exclusive(["workdir", "huggingface"], required=True)
    cli.run(main, smaller="give fewer prompts, or lower --prefill_chunk")
