"""a^n b^n and a^n b^n c^n after Gers & Schmidhuber 2001: counters, trained on small n, tested on larger ones.

    python -m experiments.train --config=configs/counting.py:lstm --workdir=/tmp/counting

Takes about a minute on 2 CPU cores. After 500 steps an LSTM accepts every n up to 10, but only the next three beyond.

`--config.data.language=anbncn` selects the context-sensitive language. Variants by model: rnn, lstm_1997, lstm, gru,
slstm, mlstm, xlstm, transformer, mamba2; and `tiny` (seconds, for tests). The paper's cell is
`--config.model.recurrent.cell=lstm_peephole`.
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.longest_tested = 20


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("counting")
    config.model.features = 32
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.train.steps = 3_000
    config.train.eval_every = 500
    config.train.log_every = 50
    config.data.language = "anbn"  # anbn | anbncn
    config.data.longest = 10  # largest n in training
    # largest n of the split "long", which continues after `longest`; 0: no such split
    config.data.longest_tested = 100
    config.data.target = "legal"  # of the loss: symbol, the next one in the string | legal, all that may follow
    config.data.batch_size = 64
    return compose(config, variant, VARIANTS, "lstm")
