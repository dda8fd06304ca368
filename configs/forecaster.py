"""A zero-shot forecaster: trained on synthetic series only, scored on six data sets that it has never seen.

    python -m experiments.train --config=configs/forecaster.py:xlstm --workdir=/tmp/forecaster

Models: xlstm (four sLSTM blocks, as in TiRex), ms (mLSTM and sLSTM blocks in turn), mlstm, lstm, gru, minlstm,
transformer. `small`, as in `lstm,small`, is half as large and takes two hours on one core; `tiny` takes seconds. The
name of a data set fine-tunes a trained model on its training part and scores it on its test part: m4_hourly, ett_h1,
exchange, illness, pollution, nab; `own` does so for your CSV file, with a row per time step:

    python -m experiments.train --config=configs/forecaster.py:xlstm,ett_h1 --workdir=/tmp/tuned \
        --config.train.init_from=/tmp/forecaster
    python -m experiments.train --config=configs/forecaster.py:xlstm,own --workdir=/tmp/mine \
        --config.train.init_from=/tmp/forecaster --config.data.path=mine.csv --config.data.targets=load
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of
from configs._variants import compose, few_steps


def pattern(blocks: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        config.model.pattern = blocks

    return change


def small(config: ConfigDict) -> None:
    config.model.features = 128
    config.train.steps = 5_000


def own(config: ConfigDict) -> None:
    config.optimizer.learning_rate = 3e-4
    config.optimizer.warmup_steps = 20
    config.data.batch_size = 32
    config.train.steps = 300
    config.train.eval_every = 50
    config.train.log_every = 10


def tuned(name: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        own(config)
        config.data.name = name

    return change


def tiny(config: ConfigDict) -> None:
    config.data.series = 100
    config.data.benchmark = ""
    config.data.context = 96
    config.data.horizon = 48
    config.data.covariates_share = 0.9
    config.data.batch_size = 8
    config.data.evaluation_batches = 3
    config.model.features = 32
    few_steps(config)
    config.optimizer.warmup_steps = 5


VARIANTS = {
    "xlstm": pattern("ssss"),
    "ms": pattern("msms"),
    "mlstm": pattern("mmmm"),
    "lstm": stack_of("lstm", 4),
    "gru": stack_of("gru", 4),
    "minlstm": stack_of("minlstm", 4),
    "transformer": stack_of("transformer", 2),
    "small": small,
    "m4_hourly": tuned("m4_hourly"),
    "ett_h1": tuned("ett_h1"),
    "exchange": tuned("exchange"),
    "illness": tuned("illness"),
    "pollution": tuned("pollution"),
    "nab": tuned("nab"),
    "own": own,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("forecaster")
    config.model.features = 192
    config.model.slstm.ffn_factor = 2.7  # on a CPU the recurrence takes the time, and this layer is nearly free
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.02
    config.optimizer.warmup_steps = 200
    config.optimizer.weight_decay = 0.01
    config.train.steps = 25_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "xlstm")
