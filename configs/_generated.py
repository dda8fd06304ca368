"""What the configs of tasks with generated data share: their section `data`, and small models of every family."""

from ml_collections import ConfigDict

from configs import base
from xlstm_jax.errors import UsageError


def recurrent(config, cell):
    config.model.pattern = "rr"
    config.model.recurrent.cell = cell
    config.model.embedding_std = 1.0


def blocks(pattern):
    def change(config, _):
        config.model.pattern = pattern

    return change


VARIANTS = {
    **dict.fromkeys(("rnn", "lstm_1997", "lstm", "gru"), recurrent),
    "slstm": blocks("ss"),
    "mlstm": blocks("mm"),
    "xlstm": blocks("ms"),
    "transformer": blocks("tt"),
    "mamba2": blocks("dd"),
    "tiny": blocks("ms"),
}


def get_config(task: str, variant: str) -> ConfigDict:
    """Two blocks or layers of 128 features upon a task with generated data."""
    if variant not in VARIANTS:
        raise UsageError(f"variant {variant!r} is unknown; allowed: {', '.join(VARIANTS)}")
    config = base.get_config()
    config.task = task
    config.data = ConfigDict()
    config.data.sequence_length = 40  # steps of a training row
    config.data.long_length = 0  # of a row of the split "long"; 0: there is none
    config.data.batch_size = 64
    config.data.evaluation_batches = 8  # of each split that is scored
    config.model.mamba2.head_features = 32
    config.model.mamba2.state_features = 64
    config.sample.length = 0
    VARIANTS[variant](config, variant)
    return config


def tiny(config) -> None:
    """Seconds on a CPU, for tests."""
    config.model.features = 32
    config.data.sequence_length = 16
    config.data.batch_size = 8
    config.data.evaluation_batches = 2
    config.optimizer.warmup_steps = 0
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10
