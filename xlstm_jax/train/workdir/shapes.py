"""Compares the arrays of a checkpoint with those that a config needs."""

from typing import Any

import jax

from xlstm_jax.errors import UsageError


def check_shapes(found: Any, like: Any, where: str) -> None:
    """Compares the shapes of two trees of arrays; `found` may have further leaves.

    Args:
        found: tree of what is on disk.
        like: tree of what is needed.
        where: names the checkpoint, for the message.

    Raises:
        UsageError: a leaf is missing or has another shape; the message names the first one.
    """
    there = _shapes(found)
    for name, shape in _shapes(like).items():
        if there.get(name) != shape:
            raise UsageError(
                f"{where} does not fit: {name} is {there.get(name, 'missing')}, but the config needs {shape}; use the "
                "config it was trained with, or another workdir"
            )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(map(_key, path)): tuple(leaf.shape) for path, leaf in leaves}


def _key(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
