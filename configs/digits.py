"""Handwritten digits of 8x8 pixels, one pixel a step: sequential MNIST (Le, Jaitly & Hinton 2015) in small.

    python -m experiments.train --config=configs/digits.py:lstm --workdir=/tmp/digits

Three minutes on 2 busy CPU cores; after 375 steps an LSTM had 93% of the validation images right.

`--config.data.permuted=True` has the pixels in a random order. Variants by model: rnn, lstm, gru, slstm, mlstm, xlstm,
transformer, mamba2; and `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _generated as generated

VARIANTS = generated.VARIANTS


def get_config(variant: str = "lstm"):
    config = generated.get_config("digits", variant)
    config.model.features = 64
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 500
    config.train.eval_every = 125
    config.train.log_every = 50
    if variant == "tiny":
        generated.tiny(config)
    config.data = ConfigDict()  # every image has 64 pixels, and every one of validation is scored once
    config.data.permuted = False  # pixels in one random order, the same for all images
    config.data.batch_size = 8 if variant == "tiny" else 64
    return config
