"""The registry of measures, the format of their results, and the file that stores them."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json
from xlstm_jax.registry import Registry

# A measure is called with the run's parts (`xlstm_jax.train.build.Parts`) and its trained parameters.
MEASURES: Registry[Callable[[Any, Any], "Measured"]] = Registry("measure", package="experiments.measures")


@dataclasses.dataclass(frozen=True)
class Curve:
    name: str  # "after training"
    x: Sequence[float]
    y: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Curves over one axis, each plotted in its own panel.

    Args:
        x, y: labels of the axes, with units.
        curves: any number of them.
        log: which of "x" and "y" have a log scale.
    """

    x: str
    y: str
    curves: Sequence[Curve]
    log: Sequence[str] = ()


def measured_path(workdir: str | Path, name: str) -> Path:
    """The file in a run's workdir for the result of a measure."""
    return Path(workdir) / f"measured-{name}.json"


def write_measured(workdir: str | Path, name: str, measured: Measured, **about: Any) -> Path:
    """Writes the result and the entries `about` the weights, atomically; returns the path."""
    path = measured_path(workdir, name)
    write_json(path, dataclasses.asdict(measured) | about)
    return path


def read_measured(workdir: str | Path, name: str) -> Measured | None:
    """Reads the result; None if the run was not measured.

    Raises:
        UsageError: the file is damaged.
    """
    path = measured_path(workdir, name)
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        curves = [Curve(curve["name"], curve["x"], curve["y"]) for curve in kept["curves"]]
        measured = Measured(kept["x"], kept["y"], curves, kept["log"])
        texts = [measured.x, measured.y, *measured.log, *(curve.name for curve in curves)]
        numbers = [number for curve in curves for pair in zip(curve.x, curve.y, strict=True) for number in pair]
        if not all(isinstance(text, str) for text in texts) or not all(type(n) in (int, float) for n in numbers):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged; delete it, and measure the run again") from error
    return measured
