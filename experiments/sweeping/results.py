"""The records in a sweep's folder: one for each run that ended, and one for the sweep itself."""

import contextlib
import json
from pathlib import Path
from typing import Any

from experiments.sweeping.base import SweepRun
from experiments.sweeping.measured import read_measured
from xlstm_jax.console import say
from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json

SWEEP, RUNS, RESULT, LOG = "sweep.json", "runs", "result.json", "log.txt"


def read_result(workdir: Path, run: SweepRun) -> dict[str, Any] | None:
    """Returns the record of a finished or failed run; None if the run has not ended, or must still be measured.

    A damaged record counts as missing, so that the run is resumed; one line says so.

    Raises:
        UsageError: it was run with other arguments, for example by an earlier version of the sweep.
    """
    path = Path(workdir) / RUNS / run.name / RESULT
    try:
        result = _load(path)
    except UsageError as error:
        say(f"{error}; the run counts as not run")
        return None
    if result is None:
        return None
    if result["arguments"] != run.arguments:
        raise UsageError(f"{path.parent} was run with other arguments than the sweep has now; use another workdir")
    if result["status"] == "finished" and run.measure:
        try:
            return result if read_measured(path.parent, run.measure) is not None else None
        except UsageError as error:
            say(f"{error}; it counts as not measured")
            return None
    return result


def read_name(workdir: Path) -> str | None:
    """Returns the sweep of a folder as FILE or FILE:VARIANT; None if the folder has no sweep.

    Raises:
        UsageError: the record of the sweep is damaged.
    """
    path = Path(workdir) / SWEEP
    if not path.is_file():
        return None
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["sweep"]
        if not isinstance(name, str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged; delete it, and run experiments.sweep there again") from error
    return name


def write_result(folder: Path, run: SweepRun, status: int, seconds: float, share: dict[str, int]) -> dict[str, Any]:
    """Records how a run ended, its share of the machine and, if it failed, the last line of its output."""
    path = folder / RESULT
    with contextlib.suppress(UsageError):  # damaged
        earlier = _load(path) or {"status": "failed"}
        # If it was trained before and measured now, add both times.
        seconds += earlier["seconds"] if earlier["status"] == "finished" else 0
    said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    result = {
        "labels": run.point.labels,
        "seed": run.seed,
        "arguments": run.arguments,
        "status": "finished" if status == 0 else "failed",
        "message": "" if status == 0 else f"exit status {status}, {said[-1] if said else 'no output'}",
        "seconds": round(seconds, 1),
        **share,
    }
    write_json(path, result)
    return result


def _load(path: Path) -> dict[str, Any] | None:
    """Reads the record in a file; None if there is no file, `UsageError` if it is damaged."""
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        kinds = {"labels": dict, "seed": int, "arguments": list, "status": str, "message": str}
        whole = all(type(result[name]) is kind for name, kind in kinds.items())
        whole = whole and result["status"] in ("finished", "failed") and type(result["seconds"]) in (int, float)
        if not whole or any(type(result[name]) is not int for name in ("cores", "workers") if name in result):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged") from error
    return result
