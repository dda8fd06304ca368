"""A sentence on a picture, by a convolutional network and a decoder: digits on a canvas, or your own pictures.

    python -m experiments.train --config=configs/caption.py:lstm --workdir=/tmp/caption

Decoders: lstm (default), gru, xlstm, transformer. With any of them, the attention to places of the picture: bahdanau
(Xu et al. 2015), general (default), or none: one vector of the whole picture (Vinyals et al. 2015). Baselines: blind
(an LSTM that does not see the picture), majority (one caption for all). `tiny` takes seconds, for tests. Combine them
as in `gru,none`. `--config.data.path=FOLDER` reads your own pictures: captions.csv or captions.jsonl with "file" and
"caption", and the pictures that it names.
"""

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._variants import Variants, compose, few_steps
from configs.translation import attention


def blind(config: ConfigDict) -> None:
    config.model.reads = False


def majority(config: ConfigDict) -> None:
    config.model.kind = "majority"
    config.optimizer.learning_rate = 3e-2


def tiny(config: ConfigDict) -> None:
    config.data.train_pictures = 64
    config.data.tested_pictures = 16
    config.data.batch_size = 8
    config.model.features = 16
    config.model.beams = 1
    few_steps(config)


VARIANTS: Variants = {
    "lstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": xlstm,
    "transformer": stack_of("transformer", 2),
    **{kind: attention(kind) for kind in ("none", "bahdanau", "general")},
    "blind": blind,
    "majority": majority,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("caption")
    config.model.features = 128
    config.model.final_norm = False
    config.model.beams = 3
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.weight_decay = 0.05
    config.train.steps = 3_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
