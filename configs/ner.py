"""Entities in messages (WNUT 2017): people, places and four more types, most of them new in each part.

    python -m experiments.train --config=configs/ner.py:bilstm --workdir=/tmp/entities

Variants and your own data: as in configs/chunking.py.
"""

from ml_collections import ConfigDict

from configs._tagging import VARIANTS, defaults
from configs._variants import compose


def get_config(variant: str = "") -> ConfigDict:
    config = defaults("wnut17")
    config.train.steps = 2_000
    config.train.eval_every = 250
    return compose(config, variant, VARIANTS, "bilstm")
