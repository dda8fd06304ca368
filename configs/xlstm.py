"""Published models by name (xlstm_jax/models/published.py), with the training recipe of xLSTM 7B.

    python -m experiments.train --config=configs/xlstm.py:xlstm_165m --workdir=/tmp/165m --config.data.path=text.txt

AdamW with b2 0.95, weight decay 0.1 on matrices, gradients clipped at 0.5, peak 4e-4, context 8,192 (Beck et al. 2025,
arXiv 2503.13427). The learning rate here decays to a tenth as a cosine. The vocabulary is that of the tokenizer, 50,304
in the paper.
"""

import functools

from ml_collections import ConfigDict

from configs import base
from configs._variants import compose
from xlstm_jax.config import to_section
from xlstm_jax.models.published import named, names


def published(config: ConfigDict, name: str) -> None:
    config.model.update({key: value for key, value in to_section(named(name)).items() if key in config.model})


VARIANTS = {name: functools.partial(published, name=name) for name in names()}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config()
    config.data.sequence_length = 8192
    config.data.batch_size = 8
    config.optimizer.learning_rate = 4e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 750
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip_norm = 0.5
    config.optimizer.b2 = 0.95
    config.train.steps = 95_000
    return compose(config, variant, VARIANTS, "xlstm_165m")
