"""Checks that a folder can be a run's workdir: it has no run or one of the same config, and no process uses it."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.plugins import load_plugins
from xlstm_jax.sharding import MeshConfig
from xlstm_jax.train.sections import NAMES, VALUES, defaults
from xlstm_jax.train.workdir.earlier import upgraded
from xlstm_jax.train.workdir.lock import RUN_LOCK, Lock

CONFIG, CODEC = "config.json", "codec.json"
# Keys that may change when a run is resumed.
RESUMABLE = (
    "plugins",
    "train.steps",
    "train.accumulate",
    "train.max_skipped",
    "train.peak_flops",
    "model.remat",
    *(f"mesh.{field.name}" for field in dataclasses.fields(MeshConfig)),
)


def check_workdir(workdir: Path, values: dict[str, Any]) -> None:
    """Raises a `UsageError` that names the differing keys if the workdir has a run of another config."""
    if workdir.exists() and not workdir.is_dir():
        raise UsageError(f"workdir {workdir} is a file; give a folder")
    path = workdir / CONFIG
    if not path.exists():
        return
    load_plugins(values.get("plugins", ""))
    saved, given = _flat(read_config(path)), _flat(values)
    # A key that did not exist when the run was saved had its default.
    saved = {key: value for key, value in _flat(defaults(values["task"])).items() if key in given} | saved
    differing = sorted(
        key for key in saved.keys() | given.keys() if saved.get(key) != given.get(key) and key not in RESUMABLE
    )
    if differing:
        shown = ", ".join(f"{key} (saved {saved.get(key)!r}, given {given.get(key)!r})" for key in differing[:5])
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise UsageError(f"workdir {workdir} has a run with another config: {shown}{more}; use another workdir")


def read_config(path: Path) -> dict[str, Any]:
    """Reads a run's config. Checks its sections here; their values are checked when they are used.

    Raises:
        UsageError: it cannot be read, or a section is missing, unknown or of the wrong type.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON ({one_line(error)}); restore it from a copy, or train from scratch"
        ) from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} is damaged: it has no sections; restore it from a copy, or train from scratch")
    config = upgraded(config)
    for name in dict.fromkeys((*NAMES, *config)):
        wanted = VALUES.get(name, dict)
        if name not in config or name not in NAMES or type(config[name]) is not wanted:
            what = "missing" if name not in config else "unknown" if name not in NAMES else f"not {wanted.__name__}"
            raise UsageError(f"{path} is damaged: {name!r} is {what}; restore it from a copy, or train from scratch")
    return config


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[Lock]:
    """Holds the workdir's lock for all processes of one run. Process 0 has the lock; all raise the same error."""
    lock, refusal = Lock(workdir / RUN_LOCK), None
    with contextlib.ExitStack() as stack:
        if jax.process_index() == 0:
            try:
                stack.enter_context(lock)
            except UsageError as error:
                refusal = error
        if jax.process_count() > 1 and (said := _of_first_process(str(refusal or ""))) and refusal is None:
            refusal = UsageError(said)
        if refusal is not None:
            raise refusal
        yield lock


def _of_first_process(text: str) -> str:
    """Broadcasts process 0's text, up to 1,000 bytes, to all processes."""
    data = np.zeros(1000, np.uint8)
    encoded = np.frombuffer(text.encode("utf-8", "backslashreplace")[: len(data)], np.uint8)
    data[: len(encoded)] = encoded
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(data))).rstrip(b"\0").decode("utf-8", "replace")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
