"""Sentiment of film reviews: the Stanford Sentiment Treebank, with two or five classes.

    python -m experiments.train --config=configs/sentiment.py:bilstm --workdir=/tmp/sentiment

Variants: lstm, bilstm, gru, xlstm, transformer, majority (always the most frequent class); `five` for five classes,
combined with a model as in `bilstm,five`; and `tiny` (seconds, for tests). Word vectors are not pretrained.
`--config.data.path=FOLDER` reads your own data: train.jsonl, validation.jsonl and optionally test.jsonl, with "text"
and "label" in each line.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import compose, few_steps


def majority(config: ConfigDict) -> None:
    config.model.kind = "majority"


def five(config: ConfigDict) -> None:
    config.data.classes = 5


def tiny(config: ConfigDict) -> None:
    config.data.phrases = False
    config.data.batch_size = 8
    config.model.features = 32
    few_steps(config)


VARIANTS = {
    "lstm": stack_of("lstm", 1),
    "bilstm": stack_of("lstm", 1, "both"),
    "gru": stack_of("gru", 1),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer"),
    "majority": majority,
    "five": five,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("sentiment")
    config.model.features = 168
    config.model.pooling = "max"
    config.model.final_norm = False
    config.model.dropout = 0.3
    config.model.head_dropout = 0.3
    config.model.token_dropout = 0.1
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.05
    config.train.steps = 4_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "bilstm")
