"""Commands and the actions that carry them out (SCAN), which test whether a model generalises to new combinations.

    python -m experiments.train --config=configs/scan.py:lstm --workdir=/tmp/scan

Splits: simple (default), length (test actions are longer than all trained on), jump (the test part combines a word that
was trained on alone). Models, attention, `feeding` and `tiny`: as in configs/translation.py; combine them as in
`jump,gru,bahdanau`.
"""

from ml_collections import ConfigDict

from configs import base
from configs._variants import Variants, compose
from configs.translation import VARIANTS as SEQ2SEQ


def split(name: str):
    """A variant: that split."""

    def change(config: ConfigDict) -> None:
        config.data.split = name

    return change


def tiny(config: ConfigDict) -> None:
    SEQ2SEQ["tiny"](config)
    config.data.batch_size = 64  # the whole test part is scored


KEPT = ("lstm", "gru", "xlstm", "transformer", "none", "bahdanau", "dot", "general", "concat", "feeding")
VARIANTS: Variants = {
    **{name: split(name) for name in ("simple", "length", "jump")},
    **{name: SEQ2SEQ[name] for name in KEPT},
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("scan")
    config.model.features = 128
    config.model.dropout = 0.1
    config.model.beams = 1
    config.model.most_tokens = 50
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 5_000
    config.train.eval_every = 1_000
    config.train.log_every = 100
    return compose(config, variant, VARIANTS, "lstm")
