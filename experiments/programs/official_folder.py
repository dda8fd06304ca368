"""An official checkpoint with its tokenizer, for the programs that take a folder in a run's place."""

from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError


def load(folder: str | Path, dtype: str) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder with config.json, safetensors and tokenizer.json.

    Raises:
        UsageError: something of it is missing or damaged, or the tokenizer is another model's.
    """
    from xlstm_jax.data.text.bpe import BPETokenizer
    from xlstm_jax.models import huggingface

    # Matrices stay in the file's dtype: a large model is kept once, and as small as it came.
    model = huggingface.load(folder, dtype=dtype, param_dtype="file")
    tokenizer = BPETokenizer.from_file(Path(folder) / "tokenizer.json")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UsageError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens, and the model {model.config.vocab_size}; "
            "give the tokenizer that it was trained with"
        )
    ends = end_tokens(folder, model.config.vocab_size, tokenizer)
    if ends and tokenizer.end_token not in ends and ends[0] in tokenizer.special:
        tokenizer.end_token = ends[0]
    return model, tokenizer


def end_tokens(folder: str | Path, vocab_size: int, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a text: `eos_token_id` of generation_config.json, else of config.json, else the tokenizer's.

    Raises:
        UsageError: it is no token of the vocabulary, nor a list of such.
    """
    from xlstm_jax import generate
    from xlstm_jax.models.huggingface.config import read_json

    for name in ("generation_config.json", "config.json"):
        path = Path(folder) / name
        if name != "config.json" and not path.is_file():
            continue
        values = read_json(path)
        if "eos_token_id" not in values:
            continue
        given = values["eos_token_id"]
        tokens = [] if given is None else given if isinstance(given, list) else [given]
        if not all(type(token) is int and 0 <= token < vocab_size for token in tokens):
            raise UsageError(
                f"{path} has eos_token_id {given!r}; allowed are a token from 0 to {vocab_size - 1}, a list of them, "
                "or null"
            )
        return tuple(dict.fromkeys(tokens))
    return generate.end_tokens(tokenizer)
