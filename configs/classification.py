"""Classes of texts: film reviews (MR, positive or negative), or your own texts, by words or characters.

    python -m experiments.train --config=configs/classification.py:bilstm --workdir=/tmp/polarity

Variants: lstm, bilstm, gru, xlstm, transformer, naive_bayes (counts of words and pairs), majority (always the most
frequent class); `languages` for a language identifier, which reads characters; and `tiny` (seconds, for tests).
`--config.data.fold=1` is the second of ten folds; `experiments/sweeps/classification.py` runs all. Word vectors are not
pretrained. `--config.data.path=FILE` or FOLDER reads your own texts: a CSV file or JSON lines with "text" and "label",
a folder with train.csv or train.jsonl, or a folder with a .txt file for each class and a text in each line.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import compose


def naive_bayes(config: ConfigDict) -> None:
    """Counts by gradient descent, in one epoch of MR: see `xlstm_jax.models.naive_bayes`."""
    config.model.kind = "naive_bayes"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 1.0
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 0.0
    config.train.steps = config.train.eval_every = 134


def majority(config: ConfigDict) -> None:
    config.model.kind = "majority"


def languages(config: ConfigDict) -> None:
    config.data.unit = "characters"
    config.data.multiple_of = 64


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.model.features = 32
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10


VARIANTS = {
    "lstm": stack_of("lstm", 1),
    "bilstm": stack_of("lstm", 1, "both"),
    "gru": stack_of("gru", 1),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer"),
    "naive_bayes": naive_bayes,
    "majority": majority,
    "languages": languages,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("classification")
    config.model.features = 64
    config.model.pooling = "max"
    config.model.final_norm = False
    config.model.dropout = 0.5
    config.model.head_dropout = 0.5
    config.model.token_dropout = 0.1
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.1
    config.train.steps = 1_350
    config.train.eval_every = 135
    config.train.log_every = 45
    return compose(config, variant, VARIANTS, "bilstm")
