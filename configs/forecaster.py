"""A zero-shot forecaster of time series, trained on synthetic series only.

python -m experiments.train --config=configs/forecaster.py:xlstm --workdir=/tmp/forecaster
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of
from configs._variants import compose


def xlstm(config: ConfigDict) -> None:
    config.model.pattern = "ssss"


def small(config: ConfigDict) -> None:
    config.model.pattern = "sss"
    config.model.features = 128
    config.train.steps = 5_000


def tiny(config: ConfigDict) -> None:
    config.data.series = 100
    config.data.benchmark = ""
    config.data.context = 96
    config.data.horizon = 48
    config.data.covariates_share = 0.9
    config.data.batch_size = 8
    config.data.evaluation_batches = 3
    config.model.features = 32
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10
    config.optimizer.warmup_steps = 5


VARIANTS = {
    "xlstm": xlstm,
    "lstm": stack_of("lstm", 3),
    "transformer": stack_of("transformer", 4),
    "small": small,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("forecaster")
    config.model.features = 192
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.02
    config.optimizer.warmup_steps = 200
    config.optimizer.weight_decay = 0.01
    config.train.steps = 10_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "xlstm")
