"""Write a Hugging Face folder: python -m experiments.convert --from_workdir=/tmp/run --to_huggingface=/tmp/folder

The source is a trained run whose blocks are all "x", or another such folder (`--from_huggingface=FOLDER`). The weights
can be written fused or separate, in another dtype, or in files of another size. A folder's tokenizer is copied. A run's
tokenizer is written if it uses byte pairs; Hugging Face has no equivalent of our byte and character tokenizers.
"""

import json
from pathlib import Path

from absl import flags

from experiments.programs import cli

_FROM_WORKDIR = flags.DEFINE_string(
    "from_workdir", None, "folder of a run whose blocks are all 'x' and whose norm is 'rms'"
)
_FROM_HUGGINGFACE = flags.DEFINE_string(
    "from_huggingface", None, "folder of a checkpoint such as NX-AI/xLSTM-7b, instead of a run"
)
_TO_HUGGINGFACE = flags.DEFINE_string("to_huggingface", None, "new folder for config.json and safetensors")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step of the run")
_WEIGHT_MODE = flags.DEFINE_string(
    "weight_mode", "single", "single, or fused: one tensor for weights with the same input"
)
_DTYPE = flags.DEFINE_string("dtype", "as_is", "dtype of the files: as_is, float32, bfloat16 or float16")
_MAX_SHARD_MB = flags.DEFINE_integer(
    "max_shard_mb", 5000, "MB per file; larger models are split", lower_bound=1, upper_bound=cli.INT32_MOST
)

# Files copied with the weights, because they remain valid for the new folder.
BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def main() -> None:
    from xlstm_jax.errors import UsageError

    if (_FROM_WORKDIR.value is None) == (_FROM_HUGGINGFACE.value is None):
        raise UsageError("give one of --from_workdir and --from_huggingface; --help shows the options")
    cli.start_jax()
    from xlstm_jax.models import huggingface

    model, options = _of_run() if _FROM_WORKDIR.value else _of_folder()
    huggingface.save(
        model,
        _TO_HUGGINGFACE.value,
        weight_mode=_WEIGHT_MODE.value,
        dtype=_DTYPE.value,
        max_shard_size=_MAX_SHARD_MB.value * 10**6,
        **options,
    )
    print(f"written to {_TO_HUGGINGFACE.value}")


def _of_run():
    import numpy as np

    from xlstm_jax.train.workdir import saved

    trained = saved.load_language_model(_FROM_WORKDIR.value, _CHECKPOINT.value)
    print(f"step {trained.step} ({_CHECKPOINT.value}) of {_FROM_WORKDIR.value}")
    tokenizer = trained.parts.task.codec
    if tokenizer.kind != "bpe":
        return trained.model, {}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if tokenizer.end_token is not None:
        about["eos_token"] = tokenizer.decode(np.array([tokenizer.end_token]))
    contents = {"tokenizer.json": tokenizer.to_json()["tokenizer"], "tokenizer_config.json": about}
    beside = {name: json.dumps(content, ensure_ascii=False).encode() for name, content in contents.items()}
    return trained.model, {"config": {"eos_token_id": tokenizer.end_token}, "beside": beside}


def _of_folder():
    from xlstm_jax.models import huggingface

    folder = Path(_FROM_HUGGINGFACE.value)
    model = huggingface.load(folder, param_dtype="file")
    beside = {name: (folder / name).read_bytes() for name in BESIDE if (folder / name).is_file()}
    return model, {"config": huggingface.read_config(folder), "beside": beside}


if __name__ == "__main__":
    flags.mark_flags_as_required(["to_huggingface"])
    cli.run(main)
