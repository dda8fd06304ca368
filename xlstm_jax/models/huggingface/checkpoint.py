"""Loads a model from a checkpoint folder and saves a model to one."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.progress import track
from safetensors import SafetensorError

from xlstm_jax.checks import check_choice, check_sizes
from xlstm_jax.errors import UsageError, one_line, shown
from xlstm_jax.files import replacing
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.huggingface import files, layout
from xlstm_jax.models.huggingface.config import CONFIG, bound_sizes, file_config, model_config, read_config
from xlstm_jax.models.language_model import LanguageModel, build_model

Compute = Literal["float32", "bfloat16"]
Parameters = Literal["float32", "file"]
Written = Literal["as_is", "float32", "bfloat16", "float16"]
WeightMode = Literal["single", "fused"]
LARGE = 1_000_000_000  # loading shows its progress from this number of bytes on


def load(folder: str | Path, *, dtype: Compute = "float32", param_dtype: Parameters = "float32") -> LanguageModel:
    """Loads a checkpoint such as NX-AI/xLSTM-7b as a model of "x" blocks; `model(tokens_BT)` returns logits [B, T, A].

    Tensors are read one by one to the default device. Memory has the parameters once, plus one tensor and the pages of
    one file.

    Args:
        folder: has config.json and model.safetensors, or several files with an index. Weights may be fused, in float32,
            bfloat16 or float16.
        dtype: dtype of the products; gates, states and logits are float32.
        param_dtype: "float32", or "file": matrices keep the file's dtype (vectors, which are small, are float32).

    Raises:
        UsageError: the folder is not such a checkpoint, or something is missing; the message names it.
    """
    check_choice("dtype", dtype, Compute)
    check_choice("param_dtype", param_dtype, Parameters)
    folder = Path(folder)
    values, weights = read_config(folder), files.Weights(folder)
    bound_sizes(values, weights.shapes)
    tied = _is_tied(values, weights)
    try:
        config = model_config(values, weights.shapes, tied=tied, dtype=dtype)
        one_block, _ = _abstract(dataclasses.replace(config, pattern="x"))
    except UsageError as error:
        raise UsageError(f"{folder / CONFIG} does not describe a model with these tensors: {error}") from error
    tensors = layout.tensors(config, fused=layout.is_fused(weights.shapes))
    found = {name: shape for name, shape in weights.shapes.items() if not (tied and name == layout.HEAD)}
    # All blocks are alike. Build only one until it is known that the file has the others.
    _compare(folder, found, {name: layout.shape_of_one(one_block, paths) for name, paths in tensors.items()})
    params, graphdef = _abstract(config)
    arrays = weights.read(tensors)
    tracked = track(arrays, "load", len(tensors), transient=True, disable=weights.bytes < LARGE)
    for name, tensor in tracked:
        row = 0
        for path in tensors[name]:
            rows = layout.file_shape(layout.at(params, path), path)[0]
            wanted = tensor.dtype if param_dtype == "file" and tensor.ndim == 2 else jnp.float32
            layout.at(params, path[:-1])[path[-1]] = _parameter(tensor[row : row + rows], path, wanted)
            row += rows
    return nnx.merge(graphdef, params)


def save(
    model: LanguageModel,
    folder: str | Path,
    *,
    weight_mode: WeightMode = "single",
    dtype: Written = "as_is",
    max_shard_size: int = 5_000_000_000,
    config: Mapping[str, Any] | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a model of "x" blocks to a folder, atomically: config.json, and model.safetensors or shards with an index.

    `load` returns the same model. `transformers` and the official code read the folder too, but run only if the total
    widths of keys and of values are multiples of 64. `transformers` always has a final norm and does not support tied
    embeddings (a tied head is also written as lm_head).

    Args:
        model: a language model of "x" blocks.
        folder: new or empty.
        weight_mode: "fused" stacks weights with the same input into one tensor.
        dtype: dtype of the files; "as_is": each tensor keeps its own.
        max_shard_size: maximum number of bytes per file.
        config: further keys of config.json, such as ids of special tokens; the model's own keys take precedence.
        beside: further files by name, such as a tokenizer's.

    Raises:
        UsageError: the format does not support the model, or the folder is not empty or cannot be written.
    """
    check_choice("weight_mode", weight_mode, WeightMode)
    check_choice("dtype", dtype, Written)
    check_sizes("save", max_shard_size=max_shard_size)
    folder, fused = Path(folder).resolve(), weight_mode == "fused"
    values = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None} | dict(config or {})
    values |= file_config(model.config, fused=fused)
    params = nnx.to_pure_dict(nnx.split(model.unscanned())[1])
    tensors = layout.tensors(model.config, fused=fused)
    if model.config.tie_embedding:
        tensors[layout.HEAD] = tensors[layout.EMBEDDING]
    dtypes = {name: _dtype(params, paths, dtype) for name, paths in tensors.items()}
    sizes = {name: layout.size(params, paths) * dtypes[name].itemsize for name, paths in tensors.items()}
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} already exists and is not empty; give a new folder")
        with replacing(folder) as new:
            new.mkdir(parents=True)
            files.write(new, sizes, lambda name: _stacked(params, tensors[name], dtypes[name]), limit=max_shard_size)
            for name, content in (beside or {}).items():
                (new / name).write_bytes(content)
            text = json.dumps(values | {"dtype": str(dtypes[layout.EMBEDDING])}, indent=2, sort_keys=True)
            (new / CONFIG).write_text(text + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{folder} cannot be written ({one_line(error)}); give another folder") from error


def _abstract(config: ModelConfig) -> tuple[dict[str, Any], Any]:
    """The shapes of a model's parameters, and its graph; computes nothing."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build_model(config)))
    return nnx.to_pure_dict(state), graphdef


def _is_tied(values: Mapping[str, Any], weights: files.Weights) -> bool:
    """Whether the head is tied to the embedding.

    Without an lm_head: unless tie_word_embeddings is false. With one: if tie_word_embeddings is true and the two are
    equal.
    """
    if layout.HEAD not in weights.shapes:
        return bool(values.get("tie_word_embeddings", True))
    if not values.get("tie_word_embeddings") or layout.EMBEDDING not in weights.shapes:
        return False
    pair = dict(weights.read({layout.HEAD: (), layout.EMBEDDING: ()}))
    return np.array_equal(pair[layout.HEAD], pair[layout.EMBEDDING])


def _parameter(tensor: np.ndarray, path: layout.Path, dtype: jnp.dtype) -> jax.Array:
    """Puts one parameter on the device. Waits for it, so that temporary memory is freed before the next one."""
    if layout.is_transposed(path):
        return jax.block_until_ready(_transposed(tensor, jnp.dtype(dtype)))
    # Copy: on CPU the array could otherwise keep the memory of the whole fused tensor.
    return jax.block_until_ready(jnp.array(tensor, dtype, copy=True))


@functools.partial(jax.jit, static_argnums=1)
def _transposed(tensor: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return tensor.T.astype(dtype)


def _dtype(params: Mapping, paths: tuple[layout.Path, ...], dtype: Written) -> np.dtype:
    if dtype != "as_is":
        return jnp.dtype(dtype)
    return np.result_type(*(layout.at(params, path).dtype for path in paths))


def _stacked(params: Mapping, paths: tuple[layout.Path, ...], dtype: jnp.dtype) -> np.ndarray:
    arrays = [(np.asarray(layout.at(params, path)), path) for path in paths]
    parts = [(array.T if layout.is_transposed(path) else array).astype(dtype) for array, path in arrays]
    return np.ascontiguousarray(np.concatenate(parts))


def _compare(folder: Path, found: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> None:
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [files.shown_name(name) for name in found if name not in wanted],
        "misshapen": [
            f"{name} {shown(list(found[name]))} for {list(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    lines = [_listed(kind, names) for kind, names in problems.items() if names]
    if lines:
        raise UsageError(f"the tensors in {folder} do not fit its config.json: {'; '.join(lines)}")


def _listed(kind: str, names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {kind}: {', '.join(names[:most])}{more}"
