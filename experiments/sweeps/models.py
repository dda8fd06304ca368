"""The models compared by sweeps over tasks with generated data, by their names in reports."""

from collections.abc import Iterable

from configs._families import FAMILIES
from experiments.sweeping.base import Axis, axis

<<<<<<< HEAD
# Variants of such a task's config.
MODELS = {family.label: name for name, family in FAMILIES.items()} | {"xLSTM (ms)": "xlstm"}
=======
# Variants of the task's config.
MODELS = {
    "RNN": "rnn",
    "LSTM": "lstm",
    "GRU": "gru",
    "sLSTM": "slstm",
    "mLSTM": "mlstm",
    "xLSTM (ms)": "xlstm",
    "Transformer": "transformer",
    "Mamba-2": "mamba2",
}
>>>>>>> engB


def models(task: str, names: Iterable[str]) -> Axis:
    """The axis "model", with the named models as variants of `configs/TASK.py`."""
    return axis("model", {name: {"config": f"configs/{task}.py:{MODELS[name]}"} for name in names})
