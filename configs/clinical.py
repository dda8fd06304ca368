"""Death in hospital from 48 hours of intensive care: the PhysioNet Challenge 2012, irregular and with missing values.

    python -m experiments.train --config=configs/clinical.py:grud --workdir=/tmp/clinical

Variants: grud (GRU-D), lstm, gru and xlstm (values, masks and time gaps; `gru,history` also reads the last, mean, least
and most value and the count of each variable so far), lstm_means (the mean where a value is missing), logistic
(regression on statistics of each variable), prior (the share of deaths); and `tiny` (seconds, for tests).
`--config.data.fold=1` is the second of five folds; `experiments/sweeps/clinical.py` runs all.
`--config.data.path=FOLDER` reads your own stays, in the form of the Challenge.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import compose, few_steps


def grud(config: ConfigDict) -> None:
    config.model.pattern = "recurrent"
    config.model.recurrent.cell = "grud"
    config.model.mapped = False
    config.model.features = 132  # a value, a mask and a gap for each of 44 variables
    config.model.dropout = 0.0  # it would act on masks


def lstm_means(config: ConfigDict) -> None:
    stack_of("lstm", 1)(config)
    config.model.reads = "values"


def history(config: ConfigDict) -> None:
    config.model.reads = "history"


def logistic(config: ConfigDict) -> None:
    config.model.reads = "statistics"
    config.optimizer.learning_rate = 1e-2


def prior(config: ConfigDict) -> None:
    config.model.reads = "nothing"


def tiny(config: ConfigDict) -> None:
    config.data.hours = 4.0
    config.data.batch_size = 8
    if config.model.mapped:
        config.model.features = 32
    few_steps(config)


VARIANTS = {
    "grud": grud,
    "lstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": xlstm,
    "history": history,
    "lstm_means": lstm_means,
    "logistic": logistic,
    "prior": prior,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("clinical")
    config.model.features = 64
    config.model.pooling = "last"
    config.model.final_norm = False
    config.model.dropout = 0.3
    config.model.head_dropout = 0.3
    config.model.replication = 0.5
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.1
    config.train.steps = 360
    config.train.eval_every = 45
    config.train.log_every = 15
    return compose(config, variant, VARIANTS, "grud")
