"""An official checkpoint with its tokenizer, for the programs that take a folder in a run's place."""

from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError


def load(folder: str | Path, dtype: str) -> tuple[Any, Any]:
    """(model, tokenizer) of a folder with config.json, safetensors and tokenizer.json.

    Raises:
        UsageError: something of it is missing or damaged, or the tokenizer is another model's.
    """
    from xlstm_jax.data.bpe import BPETokenizer
    from xlstm_jax.models import huggingface

    # Matrices stay in the file's dtype: a large model is kept once, and as small as it came.
    model = huggingface.load(folder, dtype=dtype, param_dtype="file")
    tokenizer = BPETokenizer.from_file(Path(folder) / "tokenizer.json")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise UsageError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens, and the model {model.config.vocab_size}; "
            "give the tokenizer that it was trained with"
        )
    return model, tokenizer
