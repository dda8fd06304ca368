"""Handwritten digits of 8x8 pixels, one pixel per step: a small sequential MNIST (Le, Jaitly & Hinton 2015).

    python -m experiments.train --config=configs/digits.py:lstm --workdir=/tmp/digits

Takes three minutes on 2 busy CPU cores; after 375 steps an LSTM classified 93% of the validation images correctly.

`--config.data.permuted=True` permutes the pixels. Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm,
transformer, mamba2; and `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose

VARIANTS = _problem.VARIANTS | {"tiny": _problem.tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("digits")
    config.model.features = 64
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 500
    config.train.eval_every = 125
    config.train.log_every = 50
    config.data.permuted = False  # reorder the pixels at random, in the same way for all images
    config.data.batch_size = 64
    return compose(config, variant, VARIANTS, "lstm")
