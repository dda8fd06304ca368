"""Forecasting: an electricity transformer (ETTh1), exchange rates, influenza, traffic, air quality, or your CSV file.

    python -m experiments.train --config=configs/forecasting.py:xlstm_time --workdir=/tmp/forecasting

Models: rnn, lstm, gru, slstm, mlstm, xlstm, transformer, mamba2, minlstm (blocks over patches of each column),
xlstm_time, linear (DLinear) and naive (the last season again). Combined with a model, as in `lstm,seq2seq,quantiles`:
`recursive` and `seq2seq` (other heads), `mixed` (one sequence of all columns), `quantiles` (quantile forecasts), and
the data: ett_h1 (the default), exchange, illness, los_speed, pems, pollution. `tiny` takes seconds. Your own data, with
a header and a row per time step:

    python -m experiments.train --config=configs/forecasting.py:linear --workdir=/tmp/mine --config.data.path=mine.csv \
        --config.data.time=date --config.data.targets=load --config.data.context=168 --config.data.horizon=24
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import compose, few_steps


def kind(name: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        config.model.kind = name

    return change


def head(name: str) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        config.model.head = name

    return change


def xlstm_time(config: ConfigDict) -> None:
    config.model.kind = "xlstm_time"
    config.model.pattern = "s"
    config.data.loss = "mae"


def naive(config: ConfigDict) -> None:
    config.model.kind = "naive"
    config.train.steps = config.train.eval_every = 1
    config.optimizer.warmup_steps = 0


def mixed(config: ConfigDict) -> None:
    config.model.channels = "mixed"


def quantiles(config: ConfigDict) -> None:
    config.data.loss = "quantile"
    config.data.quantiles = "0.1,0.25,0.5,0.75,0.9"


def data(name: str, context: int, horizon: int, **changes: object) -> Callable[[ConfigDict], None]:
    def change(config: ConfigDict) -> None:
        config.data.name, config.data.context, config.data.horizon = name, context, horizon
        config.model.patch = min(config.model.patch, context)
        for key, value in changes.items():
            config.data[key] = value

    return change


def los_speed(config: ConfigDict) -> None:
    data("los_speed", 12, 3, season=1, batch_size=8)(config)  # windows of 207 series each
    config.model.patch = 1


def pems(config: ConfigDict) -> None:
    data("pems", 12, 1, season=1)(config)
    config.model.patch = 1


def pollution(config: ConfigDict) -> None:
    weather = "DEWP,TEMP,PRES,Iws,Is,Ir,wind NW,wind NE,wind SE,wind cv"
    data("pollution", 168, 24, targets="pm2.5", covariates=weather, missing="forward")(config)


def tiny(config: ConfigDict) -> None:
    config.data.name = "illness"
    config.data.context, config.data.horizon, config.data.batch_size = 24, 12, 8
    config.model.instance_norm = False
    config.model.features = 16
    config.model.patch = 4
    few_steps(config)


FAMILIES = ("rnn", "lstm", "gru", "slstm", "mlstm", "transformer", "mamba2", "minlstm")
VARIANTS = {name: stack_of(name) for name in FAMILIES} | {
    "xlstm": xlstm,
    "xlstm_time": xlstm_time,
    "linear": kind("linear"),
    "naive": naive,
    "recursive": head("recursive"),
    "seq2seq": head("seq2seq"),
    "mixed": mixed,
    "quantiles": quantiles,
    "ett_h1": data("ett_h1", 336, 96),
    "exchange": data("exchange", 96, 96),
    "illness": data("illness", 104, 24),
    "los_speed": los_speed,
    "pems": pems,
    "pollution": pollution,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("forecasting")
    config.model.features = 64
    config.model.patch = 24
    config.model.dropout = 0.1
    config.model.head_dropout = 0.1
    config.model.mamba2.head_features = 32
    config.model.mamba2.state_features = 64
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.01
    config.train.steps = 2_000
    config.train.eval_every = 200
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
