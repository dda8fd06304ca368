"""Embedded Reber strings after Hochreiter & Schmidhuber 1997, experiment 1: next-symbol prediction over a long lag.

    python -m experiments.train --config=configs/embedded_reber.py:lstm --workdir=/tmp/embedded_reber

Takes about half a minute on 2 CPU cores. After 500 steps an LSTM has all of validation right (including the long lag)
and 99% of the split "long".

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm, transformer, mamba2; and `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.long_length = 32


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("embedded_reber")
    config.data.sequence_length = 40  # longest training rows
    config.data.long_length = 100  # longest rows of the split "long", whose strings are longer than those of training
    config.data.target = "symbol"  # of the loss: symbol, the next one in the string | legal, all that may follow
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 1_000
    config.train.eval_every = 100
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
