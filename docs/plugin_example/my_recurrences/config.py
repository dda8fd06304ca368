"""The latch: python -m experiments.train --config=my_recurrences.config:leaky --workdir=/tmp/latch

Variants: leaky, lstm, tiny; they compose.
"""

from ml_collections import ConfigDict

from configs import base
from configs._variants import compose


def leaky(config: ConfigDict) -> None:
    config.model.pattern = "leaky_block*2"


def lstm(config: ConfigDict) -> None:
    config.model.pattern = "recurrent*2"


def tiny(config: ConfigDict) -> None:
    config.model.features = 8
    config.data.sequence_length = 11
    config.train.steps = 20
    config.train.eval_every = 10


VARIANTS = {"leaky": leaky, "lstm": lstm, "tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("latch")
    config.plugins = "my_recurrences"  # a saved run remembers what it needs
    config.data.sequence_length = 22
    config.data.long_length = 44
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 400
    return compose(config, variant, VARIANTS, "leaky")
