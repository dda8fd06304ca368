"""Classes of texts: film reviews (MR, positive or negative), or your own texts, by words or characters.

    python -m experiments.train --config=configs/classification.py:bilstm --workdir=/tmp/polarity

Variants: lstm, bilstm, gru, xlstm, transformer, naive_bayes (counts of words and pairs), majority (always the most
frequent class); with a model, `plain` leaves out the evidence of words and pairs, as in `bilstm,plain`; `languages` is
a language identifier, which reads characters; and `tiny` takes seconds, for tests.
`--config.data.fold=1` is the second of ten folds; `experiments/sweeps/classification.py` runs all. Word vectors are not
pretrained. `--config.data.path=FILE` or FOLDER reads your own texts: a CSV file or JSON lines with "text" and "label",
a folder with train.csv or train.jsonl, or a folder with a .txt file for each class and a text in each line.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import compose, few_steps

STD = 0.1  # of the embeddings at the start


def naive_bayes(config: ConfigDict) -> None:
    """Counts by gradient descent, in one epoch of MR: see `xlstm_jax.models.naive_bayes`."""
    config.model.kind = "naive_bayes"
    config.data.evidence = False
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 1.0
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 0.0
    config.train.steps = config.train.eval_every = 134


def majority(config: ConfigDict) -> None:
    config.model.kind = "majority"
    config.data.evidence = False


def plain(config: ConfigDict) -> None:
    config.data.evidence = False


def languages(config: ConfigDict) -> None:
    config.data.unit = "characters"
    config.data.multiple_of = 64
    config.model.token_dropout = 0.1


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.model.features = 32
    few_steps(config)


VARIANTS = {
    "lstm": stack_of("lstm", 1, embedding_std=STD),
    "bilstm": stack_of("lstm", 1, "both", embedding_std=STD),
    "gru": stack_of("gru", 1, embedding_std=STD),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer"),
    "naive_bayes": naive_bayes,
    "majority": majority,
    "plain": plain,
    "languages": languages,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("classification")
    config.data.evidence = True
    config.model.features = 32
    config.model.pooling = "max"
    config.model.final_norm = False
    config.model.embedding_std = STD
    config.model.dropout = 0.3
    config.model.head_dropout = 0.3
    config.model.token_dropout = 0.4
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.0
    config.optimizer.b2 = 0.9  # rare words move less than with a longer memory
    config.optimizer.weight_decay = 0.1
    config.train.steps = 540
    config.train.eval_every = 135
    config.train.log_every = 45
    return compose(config, variant, VARIANTS, "bilstm")
