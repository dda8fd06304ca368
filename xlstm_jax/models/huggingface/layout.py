"""The mapping between tensors in files and the parameters of our models."""

import math
from collections.abc import Mapping
from typing import Any

from xlstm_jax.models.config import ModelConfig

EMBEDDING, OUT_NORM, HEAD = "backbone.embeddings.weight", "backbone.out_norm.weight", "lm_head.weight"
OLD_NAMES = {"embedding.weight": EMBEDDING}

# For one block: the end of a tensor's name, and the path to our parameter.
BLOCK = {
    "norm_mlstm.weight": ("norm", "scale"),
    "mlstm_layer.q.weight": ("q", "kernel"),
    "mlstm_layer.k.weight": ("k", "kernel"),
    "mlstm_layer.v.weight": ("v", "kernel"),
    "mlstm_layer.ogate_preact.weight": ("o", "kernel"),
    "mlstm_layer.igate_preact.weight": ("i", "kernel"),
    "mlstm_layer.igate_preact.bias": ("i", "bias"),
    "mlstm_layer.fgate_preact.weight": ("f", "kernel"),
    "mlstm_layer.fgate_preact.bias": ("f", "bias"),
    "mlstm_layer.multihead_norm.weight": ("head_norm", "scale"),
    "mlstm_layer.out_proj.weight": ("out", "kernel"),
    "norm_ffn.weight": ("ffn_norm", "scale"),
    "ffn.proj_up_gate.weight": ("ffn", "gate", "kernel"),
    "ffn.proj_up.weight": ("ffn", "up", "kernel"),
    "ffn.proj_down.weight": ("ffn", "down", "kernel"),
}
# Fused tensors: the weights that each stacks along its first axis.
FUSED = {
    "mlstm_layer.qkv_opreact.weight": tuple(f"mlstm_layer.{part}.weight" for part in ("q", "k", "v", "ogate_preact")),
    "mlstm_layer.ifgate_preact.weight": ("mlstm_layer.igate_preact.weight", "mlstm_layer.fgate_preact.weight"),
    "mlstm_layer.ifgate_preact.bias": ("mlstm_layer.igate_preact.bias", "mlstm_layer.fgate_preact.bias"),
    "ffn.proj_up_gate_z.weight": ("ffn.proj_up_gate.weight", "ffn.proj_up.weight"),
}

Path = tuple[str | int, ...]


def block_name(index: int, end: str) -> str:
    return f"backbone.blocks.{index}.{end}"


def is_fused(names: Mapping[str, Any]) -> bool:
    return any(name.endswith(tuple(FUSED)) for name in names)


def tensors(config: ModelConfig, *, fused: bool) -> dict[str, tuple[Path, ...]]:
    """Maps each tensor's name to the paths of our parameters in it, in the order in which it stacks them."""
    paths: dict[str, tuple[Path, ...]] = {EMBEDDING: (("embedding", "embedding"),)}
    inside = {single for group in FUSED.values() for single in group} if fused else set()
    for index in range(len(config.layers)):
        for end, path in BLOCK.items():
            if end not in inside:
                paths[block_name(index, end)] = (("blocks", index, *path),)
        for end, group in FUSED.items() if fused else ():
            paths[block_name(index, end)] = tuple(("blocks", index, *BLOCK[single]) for single in group)
    if config.final_norm:
        paths[OUT_NORM] = (("norm", "scale"),)
    if not config.tie_embedding:
        paths[HEAD] = (("head", "kernel"),)
    return paths


def is_transposed(path: Path) -> bool:
    """Whether the file stores the transpose: linear maps are [out, in] in files, but our kernels are [in, out]."""
    return path[-1] == "kernel"


def at(params: Mapping, path: Path) -> Any:
    for key in path:
        params = params[key]
    return params


def file_shape(leaf: Any, path: Path) -> tuple[int, ...]:
    return leaf.shape[::-1] if is_transposed(path) else leaf.shape


def stacked_shape(params: Mapping, paths: tuple[Path, ...]) -> tuple[int, ...]:
    """The shape of the tensor with the parameters at `paths`."""
    shapes = [file_shape(at(params, path), path) for path in paths]
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def shape_of_one(params: Mapping, paths: tuple[Path, ...]) -> tuple[int, ...]:
    """`stacked_shape` of any block's tensor, from the parameters of a model that has only block 0."""
    return stacked_shape(params, tuple((path[0], 0, *path[2:]) if path[0] == "blocks" else path for path in paths))


def size(params: Mapping, paths: tuple[Path, ...]) -> int:
    """The number of values in the tensor with the parameters at `paths`."""
    return math.prod(stacked_shape(params, paths))
