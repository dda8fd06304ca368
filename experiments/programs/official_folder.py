"""Loads an official checkpoint and its tokenizer, for programs that accept a folder instead of a run."""

from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError


def load(folder: str | Path, dtype: str) -> tuple[Any, Any]:
    """Returns (model, tokenizer) from a folder with config.json, safetensors and tokenizer.json.

    Raises:
        UsageError: a file is missing or damaged, or the tokenizer belongs to another model.
    """
    from xlstm_jax.data.text.bpe import BPETokenizer
    from xlstm_jax.models import huggingface

    # Matrices keep the file's dtype, so a large model takes no more memory than in its file.
    model = huggingface.load(folder, dtype=dtype, param_dtype="file")
    tokenizer = BPETokenizer.from_file(Path(folder) / "tokenizer.json")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UsageError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens, but the model has "
            f"{model.config.vocab_size}; use the tokenizer that the model was trained with"
        )
    ends = end_tokens(folder, model.config.vocab_size, tokenizer)
    if ends and tokenizer.end_token not in ends and ends[0] in tokenizer.special:
        tokenizer.end_token = ends[0]
    return model, tokenizer


def end_tokens(folder: str | Path, vocab_size: int, tokenizer: Any) -> tuple[int, ...]:
    """Returns the end tokens: `eos_token_id` of generation_config.json, else of config.json, else the tokenizer's.

    Raises:
        UsageError: `eos_token_id` is not a token of the vocabulary or a list of such tokens.
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
                f"{path} has eos_token_id {given!r}; it must be a token from 0 to {vocab_size - 1}, a list of tokens, "
                "or null"
            )
        return tuple(dict.fromkeys(tokens))
    return generate.end_tokens(tokenizer)
