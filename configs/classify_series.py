"""Classes of whole series: sequential MNIST, MNIST-1D, splice sites, sets of the UEA archive, or your own.

    python -m experiments.train --config=configs/classify_series.py:mnist1d,gru --workdir=/tmp/series

Data: mnist1d (default), mnist, permuted, splice, japanese_vowels, basic_motions. Models: lstm, gru, bilstm, minlstm,
xlstm, vil (Vision-LSTM: patches of 4 x 4 pixels), transformer, linear (logistic regression), majority. Name the data
first, then the model; and `tiny` (seconds, for tests). `--config.data.path=FILE` or FOLDER reads your own series.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.model.features = 16
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10


VARIANTS = {
    "gru": stack_of("gru", 1),
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("classify_series")
    config.optimizer.schedule = "cosine"
    return compose(config, variant, VARIANTS, "gru")
