"""Published models by name (xlstm_jax/models/published.py), with the training of xLSTM 7B.

    python -m experiments.train --config=configs/xlstm.py:xlstm_165m --workdir=/tmp/165m --config.data.path=text.txt

AdamW with b2 0.95, weight decay 0.1 on matrices, gradients clipped at 0.5, peak 4e-4, context 8,192 (Beck et al. 2025,
arXiv 2503.13427); the decay here is a cosine to a tenth. The vocabulary is the tokenizer's, 50,304 in the paper.
"""

import dataclasses

from configs import base
from xlstm_jax.models.published import named


def get_config(variant: str = "xlstm_165m"):
    config = base.get_config()
    model = dataclasses.asdict(named(variant))
    del model["vocab_size"], model["input_features"]  # the task's
    config.model.update(model)
    config.data.sequence_length = 8192
    config.data.batch_size = 8
    config.optimizer.learning_rate = 4e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 750
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip_norm = 0.5
    config.optimizer.b2 = 0.95
    config.train.steps = 95_000
    return config
