"""ListOps after Nangia & Bowman 2018: nested operations on lists of digits; with long rows as in Long Range Arena.

    python -m experiments.train --config=configs/listops.py:lstm --workdir=/tmp/listops

Small expressions are a task of minutes on 2 CPU cores; after 900 steps an LSTM had 71% of them right with

    --config.data.depth=3 --config.data.arguments=3 --config.data.sequence_length=24 --config.data.batch_size=128
    --config.model.features=64 --config.optimizer.learning_rate=3e-3 --config.train.steps=1200

`--config.data.arguments=10 --config.data.shortest=500 --config.data.sequence_length=2000` are the arena's. Variants by
model: rnn, lstm, gru, slstm, mlstm, xlstm, transformer, mamba2; and `tiny` (seconds, for tests).
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
    config.data.depth = 10  # of operations in one another, at most
    config.data.arguments = 5  # of an operation, at most
    config.data.shortest = 4  # steps of the shortest training rows
    config.data.sequence_length = 128  # of the longest
    config.data.long_length = 0  # of the split "long", whose shortest rows have sequence_length; 0: there is none
    config.data.batch_size = 32
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.train.steps = 5_000
    config.train.eval_every = 500
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
