"""Temporal order: two layers, rows of 100 to 110 steps with two marks (experiment 6a), tested on 200 to 220 too.

    python -m experiments.train --config=configs/temporal_order.py:lstm_1997 --workdir=/tmp/order

`--config.data.marks=3` is experiment 6b. Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM
block), transformer, mamba2; and `tiny` (seconds, for tests).

The 1997 LSTM, which cannot forget, learns it in some hundred steps (a minute on 2 CPU cores); the LSTM with a forget
gate, whose state fades by 0.73 a step at first, does not in 1,200.
"""

from configs import _generated as generated

VARIANTS = generated.VARIANTS


def get_config(variant: str = "lstm_1997"):
    config = generated.get_config("temporal_order", variant)
    config.data.sequence_length = 110  # of the longest rows, T + T/10
    config.data.long_length = 220  # likewise, of the split "long"
    config.data.marks = 2  # 2 | 3
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 2_000
    config.train.eval_every = 250
    if variant == "tiny":
        generated.tiny(config)
        config.data.long_length = 32
    return config
