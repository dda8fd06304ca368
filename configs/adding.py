"""The adding problem: two layers, rows of 100 to 110 steps (T = 100), also tested on 200 to 220.

    python -m experiments.train --config=configs/adding.py:lstm_1997 --workdir=/tmp/adding

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2;
and `tiny` (seconds, for tests).

With `--config.train.steps=700` (half a minute on one CPU core; seed 0, jax 0.10.2) the 1997 LSTM solves 93% of rows.
The LSTM with a forget gate, whose state decays by a factor of 0.73 per step at first, is still at chance: the second
number comes at least 50 steps before the end.
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.long_length = 32
    config.data.batch_size = 512  # each row has one target, and the mean over few rows is far from the expected value


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("adding")
    config.data.sequence_length = 110  # longest training rows, T + T/10
    config.data.long_length = 220  # longest rows of the split "long"
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 2_000
    config.train.eval_every = 250
    return compose(config, variant, VARIANTS, "lstm_1997")
