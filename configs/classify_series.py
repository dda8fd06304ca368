"""Classes of whole series: sequential MNIST, MNIST-1D, splice sites, sets of the UEA archive, or your own.

    python -m experiments.train --config=configs/classify_series.py:gru --workdir=/tmp/series

Data: mnist1d (default), mnist, permuted, splice, japanese_vowels, basic_motions. Models: lstm, gru, bilstm, bigru,
slstm, minlstm, xlstm, vil (Vision-LSTM: patches of 4 x 4 pixels), transformer, linear (logistic regression), majority.
Name the data first and the model second. `tiny` takes seconds, for tests. `--config.data.path=FILE` or FOLDER reads
your own series.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import compose, few_steps


def mnist(config: ConfigDict) -> None:
    config.data.name = "mnist"
    config.data.batch_size = 32
    config.model.pooling = "mean"
    config.model.head_dropout = 0.0
    config.optimizer.warmup_steps = 200
    config.train.steps = 12_000
    config.train.eval_every = 2_000
    config.train.log_every = 100


def permuted(config: ConfigDict) -> None:
    mnist(config)
    config.data.permuted = True


def splice(config: ConfigDict) -> None:
    """Ten nucleotides a step, so that the place in the sequence is easy to tell."""
    config.data.name = "splice"
    config.data.stacked = 10
    config.train.steps = 2_000


def japanese_vowels(config: ConfigDict) -> None:
    config.data.name = "japanese_vowels"
    config.data.batch_size = 32
    config.train.steps = 400
    config.train.eval_every = 50
    config.train.log_every = 10


def basic_motions(config: ConfigDict) -> None:
    config.data.name = "basic_motions"
    config.data.validation = 0.2
    config.data.batch_size = 16
    config.train.steps = 200
    config.train.eval_every = 25
    config.train.log_every = 10


def slstm(config: ConfigDict) -> None:
    """One layer of the sLSTM with one head, without the block around it: several times as fast on a CPU."""
    stack_of("lstm", 1)(config)
    config.model.recurrent.cell = "slstm"
    config.model.recurrent.options = "num_heads=1"


def vil(config: ConfigDict) -> None:
    """Vision-LSTM (Alkin et al. 2024): patches in raster order, every second mLSTM block reads backward."""
    config.model.pattern = "mlstm*4"
    config.model.directions = "alternate"
    config.model.patch = 4
    config.model.pooling = "ends"


def linear(config: ConfigDict) -> None:
    config.model.kind = "linear"
    config.optimizer.learning_rate = 1e-2
    config.train.steps = min(config.train.steps, 1_000)


def majority(config: ConfigDict) -> None:
    config.model.kind = "majority"


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.model.features = 16
    few_steps(config)


VARIANTS = {
    "mnist1d": lambda config: None,
    "mnist": mnist,
    "permuted": permuted,
    "splice": splice,
    "japanese_vowels": japanese_vowels,
    "basic_motions": basic_motions,
    "lstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "bilstm": stack_of("lstm", 1, "both"),
    "bigru": stack_of("gru", 1, "both"),
    "slstm": slstm,
    "minlstm": stack_of("minlstm", 2),
    "xlstm": alternating_xlstm,
    "vil": vil,
    "transformer": stack_of("transformer"),
    "linear": linear,
    "majority": majority,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("classify_series")
    config.model.features = 96
    config.model.pooling = "max"
    config.model.head_dropout = 0.2
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.05
    config.train.steps = 2_000
    config.train.eval_every = 250
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "gru")
