"""Copy ten symbols after a lag of 50 steps: two layers, rows of 70 steps, also tested on a lag of 100.

    python -m experiments.train --config=configs/copy_memory.py:lstm_1997 --workdir=/tmp/copy

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2;
and `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.sequence_length = 24
    config.data.long_length = 32


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("copy_memory")
    config.data.sequence_length = 70  # 20 + lag
    config.data.long_length = 120  # 20 + lag in the split "long"
    config.model.features = 64
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 5_000
    config.train.eval_every = 250
    return compose(config, variant, VARIANTS, "lstm_1997")
