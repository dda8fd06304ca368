"""Spike delays as in Gers, Schraudolph & Schmidhuber 2002: are spikes 49 or 50 steps apart?

    python -m experiments.train --config=configs/timing.py:lstm --workdir=/tmp/timing

With `--config.model.recurrent.cell=lstm_peephole` the gates see the cell state, which is what the paper tests with this
task. Shorter intervals are learned in a minute on 2 CPU cores, and then distinguished without error in rows of 512
steps:

    --config.data.interval=9 --config.data.sequence_length=64 --config.data.long_length=512 --config.train.steps=500
    --config.data.interval=19 --config.data.sequence_length=80 --config.data.long_length=512 --config.train.steps=800

The first is learned by an LSTM after 250 steps. The second is learned by an LSTM with peepholes after 600; without them
it stays at chance (one seed each). The interval of 49 was not learned by either in the first 600 and 360 steps.

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm, transformer, mamba2; and `tiny` (seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.interval = 4
    config.data.long_length = 32


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("timing")
    config.data.interval = 49  # minimum number of steps between spikes
    config.data.offsets = 1  # each interval is longer by 0 to this many steps
    config.data.sequence_length = 256
    config.data.long_length = 2048  # longest rows of the split "long"
    config.data.batch_size = 32  # each row has five spikes
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 2_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
