"""The adding problem: two layers, rows of 100 to 110 steps (T = 100), tested on 200 to 220 too.

    python -m experiments.train --config=configs/adding.py:lstm --workdir=/tmp/adding

Variants by model: rnn, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2; and `tiny`
(seconds, for tests).
"""

from configs import _generated as generated

VARIANTS = generated.VARIANTS


def get_config(variant: str = "lstm"):
    config = generated.get_config("adding", variant)
    config.data.sequence_length = 110  # of the longest rows, T + T/10
    config.data.long_length = 220  # likewise, of the split "long"
    config.train.steps = 2_000
    config.train.eval_every = 250
    if variant == "tiny":
        generated.tiny(config)
        config.data.long_length = 32
        config.data.batch_size = 512  # a row has one target, and the mean of few is far from the expected one
    return config
