"""Translation of German and English descriptions of pictures (Multi30k), by an encoder and a decoder with attention.

    python -m experiments.train --config=configs/translation.py:lstm --workdir=/tmp/translation

Models: lstm, gru, xlstm, transformer. With any of them, the attention: general (default), dot, concat, bahdanau, or
none; `feeding` reads the last attentional state back (Luong et al. 2015), `sutskever` is two LSTM layers that read
reversed sources without attention, `gnmt` four residual ones. `en_de` turns the direction, `words` takes words between
spaces as tokens instead of byte pairs; `tiny` takes seconds, for tests. Combine them as in `lstm,bahdanau,en_de`.
`--config.data.path=FOLDER` reads your own pairs: train.tsv, train.jsonl, or train.source and train.target, and perhaps
the same of validation and test.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import Variants, compose, few_steps


def attention(kind: str):
    """A variant: that kind of attention."""

    def change(config: ConfigDict) -> None:
        config.model.attention = kind

    return change


def feeding(config: ConfigDict) -> None:
    config.model.input_feeding = True


def sutskever(config: ConfigDict) -> None:
    stack_of("lstm", 2)(config)
    config.model.directions = "forward"
    config.model.attention = "none"
    config.data.reverse = True


def gnmt(config: ConfigDict) -> None:
    """After Wu et al. 2016: a first layer without a residual connection would need another width, so all have one."""
    stack_of("lstm", 4)(config)
    config.model.recurrent.residual = True
    config.model.coverage_penalty = 0.2


def en_de(config: ConfigDict) -> None:
    config.data.direction = "en-de"


def words(config: ConfigDict) -> None:
    config.data.unit = "words"


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.data.vocab_size = 300
    config.data.multiple_of = 64
    config.data.most_tokens = 60
    config.model.features = 16
    config.model.tie_embedding = False
    config.model.beams = 1
    config.model.most_tokens = 8
    few_steps(config)


VARIANTS: Variants = {
    "lstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer", directions="alternate"),
    **{kind: attention(kind) for kind in ("none", "bahdanau", "dot", "general", "concat")},
    "feeding": feeding,
    "sutskever": sutskever,
    "gnmt": gnmt,
    "en_de": en_de,
    "words": words,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("translation")
    config.model.features = 256
    config.model.dropout = 0.3
    config.model.head_dropout = 0.3
    config.model.label_smoothing = 0.1
    config.model.tie_embedding = True
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.01
    config.train.steps = 6_000
    config.train.eval_every = 1_000
    config.train.log_every = 100
    return compose(config, variant, VARIANTS, "lstm")
