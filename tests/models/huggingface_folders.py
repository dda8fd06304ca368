"""Small checkpoint folders, and changes to them."""

import json
import pathlib

from safetensors.numpy import load_file, save_file

from tests.models.examples import FEATURES, VOCABULARY, example
from xlstm_jax.models import ModelConfig, huggingface
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig

# K 4, V 12, F 24: all widths differ.
BLOCK = XLSTMBlockConfig(num_heads=2, qk_factor=0.5, v_factor=1.5, ffn_factor=1.2, ffn_multiple=8, norm_eps=1e-6)
SIZES = {"vocab_size": VOCABULARY, "features": FEATURES, "pattern": "xx", "blocks": (BLOCK,)}
CONFIG = ModelConfig(norm="rms", norm_eps=1e-6, logit_softcap=30.0, **SIZES)


def saved(folder, model_config=CONFIG, **options) -> pathlib.Path:
    huggingface.save(example(model_config).model(), folder, **options)
    return folder


def change_config(folder, **changes) -> pathlib.Path:
    """Sets keys, or removes those set to `...`."""
    values = json.loads((folder / "config.json").read_text()) | changes
    values = {name: value for name, value in values.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def change_weights(folder, **changes) -> None:
    """Sets tensors of a file, or removes those set to None; dots in a name are written __."""
    path = folder / "model.safetensors"
    weights = load_file(path) | {name.replace("__", "."): array for name, array in changes.items()}
    save_file({name: array for name, array in weights.items() if array is not None}, path)
