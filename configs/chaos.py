"""Chaotic series: Mackey-Glass (tau 17 or 30) and Lorenz, trained a step ahead and run freely.

    python -m experiments.train --config=configs/chaos.py:lstm --workdir=/tmp/chaos

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2,
and linear (autoregression by least squares); by system, mackey_glass_30 and lorenz instead of Mackey-Glass with tau 17;
they combine, as in `xlstm,lorenz`; and `tiny` (seconds, for tests). `--config.data.path=FILE`
reads your own series: a CSV file with a column per variable and a row per step.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose, few_steps


def system(name: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        config.data.system = name

    return change


def transformer(config: ConfigDict) -> None:
    _problem.VARIANTS["transformer"](config)
    config.model.transformer.window = 128  # the cache of a free run is no longer than that


def linear(config: ConfigDict) -> None:
    """Autoregression, which starts from the least-squares solution: there is nothing left to learn."""
    config.model.kind = "linear"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 1e-9
    config.optimizer.warmup_steps = 0
    config.train.steps = config.train.eval_every = 1


def tiny(config: ConfigDict) -> None:
    config.data.series = 16
    config.data.series_length = 256
    config.data.warm_up = 16
    config.data.sequence_length = 32
    config.data.free_steps = 100
    config.data.batch_size = 32
    config.data.evaluation_batches = 8
    config.model.features = 32
    few_steps(config)


VARIANTS = _problem.VARIANTS | {"transformer": transformer, "linear": linear}
VARIANTS |= {"mackey_glass_30": system("mackey_glass_30"), "lorenz": system("lorenz"), "tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("chaos")
    config.model.features = 64
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.01
    config.optimizer.warmup_steps = 100
    config.train.steps = 4000
    config.train.eval_every = 1000
    config.train.log_every = 100
    return compose(config, variant, VARIANTS, "lstm")
