"""Temporal order: two layers, rows of 100 to 110 steps with two marks (experiment 6a), also tested on 200 to 220.

    python -m experiments.train --config=configs/temporal_order.py:lstm_1997 --workdir=/tmp/order

`--config.data.marks=3` is experiment 6b. Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM
and an sLSTM block), transformer, mamba2; and `tiny` (seconds, for tests).

With `--config.train.steps=700` (half a minute on one CPU core; seed 0, jax 0.10.2) the 1997 LSTM solves every row. The
LSTM with a forget gate, whose state decays by a factor of 0.73 per step at first, is still at chance.
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.long_length = 32


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("temporal_order")
    config.data.sequence_length = 110  # longest training rows, T + T/10
    config.data.long_length = 220  # longest rows of the split "long"
    config.data.marks = 2  # 2 | 3
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 2_000
    config.train.eval_every = 250
    return compose(config, variant, VARIANTS, "lstm_1997")
