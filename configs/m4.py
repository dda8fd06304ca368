"""The hourly series of the M4 competition: 414 series, 48 hours ahead, one model of all of them.

    python -m experiments.train --config=configs/m4.py:es_rnn --workdir=/tmp/m4

Variants: lstm, gru, slstm, mlstm, xlstm, minlstm, transformer; es_rnn (exponential smoothing of each series under an
LSTM, Smyl 2020), linear (DLinear), naive (the last day again), and tiny (seconds). A block can be combined with
exponential smoothing: `xlstm,model.kind=es_rnn`.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import compose, few_steps


def es_rnn(config: ConfigDict) -> None:
    stack_of("lstm")(config)
    config.train.steps = 4_000  # of which each takes as long as four without smoothing
    config.train.eval_every = 400
    config.model.kind = "es_rnn"
    config.model.instance_norm = False
    config.model.linear = False


def linear(config: ConfigDict) -> None:
    config.model.kind = "linear"


def naive(config: ConfigDict) -> None:
    config.model.kind = "naive"
    config.train.steps = config.train.eval_every = 1
    config.optimizer.warmup_steps = 0


def tiny(config: ConfigDict) -> None:
    config.data.context = 48
    config.data.batch_size = 8
    config.model.features = 16
    config.model.linear = False
    few_steps(config)


VARIANTS = {name: stack_of(name) for name in ("lstm", "gru", "slstm", "mlstm", "transformer", "minlstm")} | {
    "xlstm": xlstm,
    "es_rnn": es_rnn,
    "linear": linear,
    "naive": naive,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("m4")
    config.model.features = 64
    config.model.patch = 24
    config.model.linear = True
    config.model.dropout = 0.1
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 10_000
    config.train.eval_every = 1_000
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
