"""The models that sweeps over tasks with generated data compare, by the names that reports give them."""

from collections.abc import Iterable

from experiments.sweeping.base import Axis, axis

# Variants of such a task's config.
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
    """The axis "model": the named ones of `configs/TASK.py`."""
    return axis("model", {name: {"config": f"configs/{task}.py:{MODELS[name]}"} for name in names})
