"""ListOps (Nangia & Bowman 2018): nested operations on lists of digits, with the option of Long Range Arena's rows.

    python -m experiments.train --config=configs/listops.py:lstm --workdir=/tmp/listops

Small expressions take minutes on 2 CPU cores. With these options, an LSTM solved 71% of them after 900 steps:

    --config.data.depth=3 --config.data.arguments=3 --config.data.sequence_length=24 --config.data.batch_size=128
    --config.model.features=64 --config.optimizer.learning_rate=3e-3 --config.train.steps=1200

The arena's sizes are `--config.data.arguments=10 --config.data.shortest=500 --config.data.sequence_length=2000`.
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
    config = _problem.get_config("listops")
    config.data.depth = 10  # maximum nesting of operations
    config.data.arguments = 5  # maximum per operation
    config.data.shortest = 4  # shortest training rows
    config.data.sequence_length = 128  # longest training rows
    config.data.long_length = 0  # longest rows of the split "long"; its shortest have sequence_length; 0: no such split
    config.data.batch_size = 32
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.train.steps = 5_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
