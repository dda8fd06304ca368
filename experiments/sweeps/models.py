"""The models compared by sweeps over tasks with generated data, by their names in reports."""

from collections.abc import Iterable

from experiments.sweeping.base import Axis, axis

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


def models(task: str, names: Iterable[str]) -> Axis:
    """The axis "model", with the named models as variants of `configs/TASK.py`."""
    return axis("model", {name: {"config": f"configs/{task}.py:{MODELS[name]}"} for name in names})
