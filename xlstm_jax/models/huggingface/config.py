"""Conversion of a checkpoint's config.json to a `ModelConfig` and back."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError, one_line, shown
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.huggingface.layout import OUT_NORM, block_name

# Means "no soft cap" in files: the format has no other way to say it, and such a large cap changes no logit.
NO_CAP = 1e9
CONFIG = "config.json"
MOST_BYTES = 100_000_000  # limit for a JSON file, the same as for headers in safetensors
# Keys whose values cannot exceed the number of values in all tensors.
SIZES = ("hidden_size", "embedding_dim", "vocab_size", "num_heads", "ffn_round_up_to_multiple_of")
BLOCKS = ("num_hidden_layers", "num_blocks")


def read_config(folder: Path) -> dict[str, Any]:
    """Reads `folder`'s config.json.

    Raises:
        UsageError: it is missing, not a JSON object, or for another kind of model.
    """
    path = folder / CONFIG
    values = read_json(path)
    if values.get("model_type") != "xlstm":
        raise UsageError(f"{path} has model_type {shown(values.get('model_type'))}; only 'xlstm' can be loaded")
    if values.get("use_bias"):
        raise UsageError(f"{path} has use_bias; blocks with biases other than the gates' cannot be loaded")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Reads the object in a JSON file; raises `UsageError` if there is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} has more than {MOST_BYTES:,} bytes, too many for a checkpoint; fetch it again")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error)})"
        raise UsageError(f"{path} {why}; give the folder of a Hugging Face checkpoint") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({one_line(error)}); fetch it again") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a JSON object; fetch it again")
    return values


def bound_sizes(values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks the sizes in an untrusted config.json against the files before they are used.

    Raises:
        UsageError: there are more blocks than tensors, or a size exceeds the number of values in all tensors.
    """
    held = sum(math.prod(shape) for shape in shapes.values())
    for names, most, what in ((BLOCKS, len(shapes), "tensors"), (SIZES, held, "numbers in all tensors")):
        for name in names:
            value = values.get(name)
            if isinstance(value, int | float) and value > most:
                raise UsageError(
                    f"{CONFIG} has {name} {shown(value)}, but the files have {most} {what}; fetch it again"
                )


def model_config(
    values: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], *, tied: bool, dtype: str
) -> ModelConfig:
    """The model config of a checkpoint with these keys and tensor shapes.

    The widths of q and k, of v, and of the feed-forward layer are taken from block 0's tensors, because programs that
    write checkpoints round them differently. There is a final norm if the file has its weight, or `add_out_norm` is
    true.

    Raises:
        UsageError: a size is missing or not a number.
    """
    features = _number(values, "hidden_size", "embedding_dim")
    blocks = _number(values, *BLOCKS)
    qk_features, v_features, ffn_features = _widths(shapes)
    return ModelConfig(
        vocab_size=_number(values, "vocab_size"),
        features=features,
        pattern="x" * blocks,
        final_norm=OUT_NORM in shapes or bool(values.get("add_out_norm", True)),
        norm="rms",
        norm_eps=_number(values, "norm_eps", default=1e-6),
        logit_softcap=_cap(values, "output_logit_soft_cap", 30.0),
        tie_embedding=tied,
        dtype=dtype,
        blocks=(
            XLSTMBlockConfig(
                num_heads=_number(values, "num_heads"),
                qk_factor=qk_features / features or _number(values, "qk_dim_factor", default=0.5),
                v_factor=v_features / features or _number(values, "v_dim_factor", default=1.0),
                ffn_factor=_number(values, "ffn_proj_factor", default=2.667),
                ffn_multiple=_number(values, "ffn_round_up_to_multiple_of", default=64),
                ffn_features=ffn_features,
                gate_softcap=_cap(values, "gate_soft_cap", 15.0),
                norm_eps=_number(values, "norm_eps", default=1e-6),
                eps=_number(values, "eps", default=1e-6),
            ),
        ),
    )


def file_config(config: ModelConfig, *, fused: bool) -> dict[str, Any]:
    """The keys of config.json for a model config.

    Raises:
        UsageError: the model has other blocks than "x", or an option that the format does not support.
    """
    block = config.options(XLSTMBlockConfig)
    if set(config.layers) != {"xlstm"}:
        raise UsageError(f"model.pattern {config.pattern!r} does not fit the format; all blocks must be 'xlstm'")
    if config.final_norm and (config.norm, config.norm_eps) != ("rms", block.norm_eps):
        raise UsageError(
            f"model.norm {config.norm!r} with model.norm_eps {config.norm_eps} does not fit the format; the final "
            f"norm must be 'rms' with the blocks' eps, {block.norm_eps}"
        )
    inner = block.ffn_width(config.features)
    factor, multiple = block.ffn_factor, block.ffn_multiple
    # Some programs truncate the product to an integer before rounding it up.
    if any(multiple * math.ceil(width / multiple) != inner for width in _products(factor, config.features)):
        factor, multiple = (inner - 0.5) / config.features, inner
    values = {
        "model_type": "xlstm",
        "architectures": ["xLSTMForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.features,
        "embedding_dim": config.features,
        "num_hidden_layers": len(config.layers),
        "num_blocks": len(config.layers),
        "num_heads": block.num_heads,
        "use_bias": False,
        "qk_dim_factor": block.qk_factor,
        "v_dim_factor": block.v_factor,
        "ffn_proj_factor": factor,
        "ffn_round_up_to_multiple_of": multiple,
        "norm_eps": block.norm_eps,
        "eps": block.eps,
        "gate_soft_cap": block.gate_softcap or NO_CAP,
        "output_logit_soft_cap": config.logit_softcap or NO_CAP,
        "add_out_norm": config.final_norm,
        "tie_word_embeddings": config.tie_embedding,
        "weight_mode": "fused" if fused else "single",
    }
    return values | ({"chunk_size": block.chunk_size} if block.chunk_size else {})


def _products(factor: float, features: int) -> tuple[float, float]:
    return factor * features, math.floor(factor * features)


def _widths(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """Total widths of the queries and of the values, and the feed-forward width; 0 if the tensor is missing."""

    def axis(end: str, index: int) -> int:
        shape = shapes.get(block_name(0, end), ())
        return shape[index] if len(shape) == 2 else 0

    values = axis("mlstm_layer.out_proj.weight", 1)
    stacked = axis("mlstm_layer.qkv_opreact.weight", 0)
    queries = (stacked - 2 * values) // 2 if stacked else axis("mlstm_layer.q.weight", 0)
    return max(queries, 0), values, axis("ffn.proj_down.weight", 1)


def _number(values: Mapping[str, Any], *names: str, default: float | None = None) -> Any:
    """The value of the first of `names` that is present: a positive float if `default` is a float, else an int."""
    name = next((name for name in names if values.get(name) is not None), None)
    if name is None:
        if default is None:
            raise UsageError(f"{CONFIG} has no {' or '.join(names)}; fetch it again")
        return default
    value, kinds = values[name], (int, float) if isinstance(default, float) else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= sys.float_info.max:
        what = "number" if float in kinds else "whole number"
        raise UsageError(f"{CONFIG} has {name} {shown(value)}; must be a {what} over 0")
    return float(value) if isinstance(default, float) else value


def _cap(values: Mapping[str, Any], name: str, default: float) -> float:
    """A soft cap; 0 (none) if the file has null, 0, or at least `NO_CAP`."""
    if name in values and values[name] in (None, 0):
        return 0.0
    cap = _number(values, name, default=default)
    return cap if cap < NO_CAP else 0.0
