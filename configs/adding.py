"""The adding problem: two layers, rows of 100 to 110 steps (T = 100), tested on 200 to 220 too.

    python -m experiments.train --config=configs/adding.py:lstm_1997 --workdir=/tmp/adding

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2; and `tiny`
(seconds, for tests).

The 1997 LSTM, which cannot forget, answers 93% of rows rightly after 700 steps (a minute on 2 CPU cores); of the
LSTM with a forget gate, whose state fades by 0.73 a step at first, nothing is learned in 2,600, as the second number
stands 50 steps or more before the end.
"""

from configs import _generated as generated

VARIANTS = generated.VARIANTS


def get_config(variant: str = "lstm_1997"):
    config = generated.get_config("adding", variant)
    config.data.sequence_length = 110  # of the longest rows, T + T/10
    config.data.long_length = 220  # likewise, of the split "long"
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 2_000
    config.train.eval_every = 250
    if variant == "tiny":
        generated.tiny(config)
        config.data.long_length = 32
        config.data.batch_size = 512  # a row has one target, and the mean of few is far from the expected one
    return config
