"""Summaries of texts by their own sentences: abstracts of papers (SciTLDR), or your own documents.

    python -m experiments.train --config=configs/summary.py:bilstm --workdir=/tmp/summary

Variants: lstm, bilstm, gru, xlstm, transformer, lead (a baseline that takes the first sentences); and `tiny` (seconds,
on simulated documents, for tests). `--config.data.sentences=3` takes three sentences. `--config.data.path=FILE` or
FOLDER reads your own documents: JSON lines with "source", a text or a list of sentences, and "target", one or more
summaries.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import compose, few_steps


def lead(config: ConfigDict) -> None:
    config.model.kind = "lead"
    config.optimizer.learning_rate = 1e-2
    config.optimizer.weight_decay = 0.0


def tiny(config: ConfigDict) -> None:
    config.data.name = "simulated"
    config.data.batch_size = 8
    config.data.most_words = 16
    config.model.features = 16
    few_steps(config)


VARIANTS = {
    "lstm": stack_of("lstm", 1, "forward"),
    "bilstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer", directions="alternate"),
    "lead": lead,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("summary")
    config.model.features = 96
    config.model.final_norm = False
    config.model.dropout = 0.3
    config.model.head_dropout = 0.3
    config.model.token_dropout = 0.2
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.1
    config.train.steps = 1_000
    config.train.eval_every = 125
    config.train.log_every = 25
    return compose(config, variant, VARIANTS, "bilstm")
