"""Whether a folder can be the workdir of a run: it holds none, or one of the same config."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError
from xlstm_jax.sharding import MeshConfig
from xlstm_jax.train.run import defaults

# What may change when a run is taken up again.
RESUMABLE = (
    "train.steps",
    "train.accumulate",
    "train.max_skipped",
    "train.peak_flops",
    "model.remat",
    *(f"mesh.{field.name}" for field in dataclasses.fields(MeshConfig)),
)


def check_workdir(workdir: Path, values: dict[str, Any]) -> None:
    """Raise `UsageError`, naming the keys, where the workdir holds a run of another config."""
    if workdir.exists() and not workdir.is_dir():
        raise UsageError(f"workdir {workdir} is a file; give a folder")
    path = workdir / "config.json"
    if not path.exists():
        return
    try:
        saved = _flat(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON; use another workdir") from error
    given = _flat(values)
    # A knob that the saved run did not have yet stood at its default.
    saved = {key: value for key, value in _flat(defaults(values["task"])).items() if key in given} | saved
    differing = sorted(
        key for key in saved.keys() | given.keys() if saved.get(key) != given.get(key) and key not in RESUMABLE
    )
    if differing:
        shown = ", ".join(f"{key} (saved {saved.get(key)!r}, given {given.get(key)!r})" for key in differing[:5])
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise UsageError(f"workdir {workdir} holds a run with another config: {shown}{more}; use another workdir")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
