"""Shared by configs of tasks with generated data: a small model of each family, and the tiny variant."""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import few_steps

VARIANTS = {name: stack_of(name) for name in ("rnn", "lstm_1997", "lstm", "gru", "slstm", "mlstm")}
VARIANTS |= {"xlstm": xlstm} | {name: stack_of(name) for name in ("transformer", "mamba2")}


def get_config(task: str) -> ConfigDict:
    """Two blocks or layers of 128 features for a task with generated data."""
    config = base.get_config(task)
    if "long_length" in config.data:
        config.data.long_length = 0
    config.model.mamba2.head_features = 32
    config.model.mamba2.state_features = 64
    return config


def tiny(config: ConfigDict) -> None:
    """Takes seconds on a CPU, for tests."""
    config.model.features = 32
    config.data.batch_size = 8
    if "sequence_length" in config.data:
        config.data.sequence_length = 16
        config.data.evaluation_batches = 2
    few_steps(config)
