"""The models compared by sweeps over tasks with generated data, by their names in reports."""

from collections.abc import Iterable

from configs._families import FAMILIES
from experiments.sweeping.base import Axis, axis

# Variants of the task's config.
MODELS = {family.label: name for name, family in FAMILIES.items()} | {"xLSTM (ms)": "xlstm"}


def models(task: str, names: Iterable[str]) -> Axis:
    """The axis "model", with the named models as variants of `configs/TASK.py`."""
    return axis("model", {name: {"config": f"configs/{task}.py:{MODELS[name]}"} for name in names})
