"""The models that sweeps over tasks with generated data compare, by the names that reports give them."""

from collections.abc import Iterable

from configs._families import FAMILIES
from experiments.sweeping.base import Axis, axis

# Variants of such a task's config.
MODELS = {family.label: name for name, family in FAMILIES.items()} | {"xLSTM (ms)": "xlstm"}


def models(task: str, names: Iterable[str]) -> Axis:
    """The axis "model": the named ones of `configs/TASK.py`."""
    return axis("model", {name: {"config": f"configs/{task}.py:{MODELS[name]}"} for name in names})
