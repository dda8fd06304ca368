"""Anomalies in series as they come in: NAB (58 series), SKAB (eight sensors of a water circuit), or your CSV files.

    python -m experiments.train --config=configs/anomaly.py:lstm --workdir=/tmp/anomaly

Models: lstm, gru, xlstm, transformer (they forecast each row from those before it), autoencoder (an LSTM reads a window
and writes it again), none (nothing is learned: the values themselves are scored), and on NAB windowed_gaussian. On
SKAB: skab (an LSTM autoencoder), `skab,xlstm`, `skab,gru`, `skab,forecaster`, `skab,none` and `skab,t2_q`. `tiny` takes
seconds. `--config.data.path=FILE` or a folder of CSV files, with a header and a row per time step, watches your own
series; `--config.data.time` names the column of dates.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import compose, few_steps


def autoencoder(config: ConfigDict) -> None:
    config.model.kind = "autoencoder"
    config.data.reads = "present"
    config.data.window, config.data.stride = 10, 1


def none(config: ConfigDict) -> None:
    config.model.kind = "none"
    config.data.reads = "present"
    config.data.window = config.data.stride = 64
    config.train.steps = config.train.eval_every = 1
    config.optimizer.warmup_steps = 0


def windowed_gaussian(config: ConfigDict) -> None:
    none(config)
    config.data.rule = "windowed_gaussian"
    config.data.threshold = 1.0


def skab(config: ConfigDict) -> None:
    """As on the leaderboard: the first 400 rows of each experiment are for training; here 100 of them are held out."""
    autoencoder(config)
    stack_of("lstm", 1)(config)
    config.data.name = "skab"
    config.data.time = "datetime"
    config.data.calibration = 400
    config.data.held_out = 0.25
    config.data.scaling = "calibration"
    config.data.seasons = "none"
    config.data.rule = "states"
    config.data.threshold = 1.0
    config.data.batch_size = 64


def forecaster(config: ConfigDict) -> None:
    config.model.kind = "forecaster"
    config.data.reads = "past"
    config.data.window, config.data.stride = 128, 64


def t2_q(config: ConfigDict) -> None:
    none(config)
    config.data.rule = "t2_q"


def tiny(config: ConfigDict) -> None:
    skab(config)
    forecaster(config)
    config.data.only = "valve2"
    config.data.window, config.data.stride, config.data.batch_size = 16, 8, 8
    config.model.features = 16
    few_steps(config)


VARIANTS = {
    "lstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": xlstm,
    "transformer": stack_of("transformer", 1),
    "autoencoder": autoencoder,
    "forecaster": forecaster,
    "none": none,
    "windowed_gaussian": windowed_gaussian,
    "skab": skab,
    "t2_q": t2_q,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("anomaly")
    config.model.features = 64
    config.model.pattern = "r"
    config.model.embedding_std = 1.0
    config.model.final_norm = False
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.01
    config.train.steps = 1_000
    config.train.eval_every = 100
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
