"""Multi-query associative recall: two blocks, vocabulary 8,192, rows of 64 steps with 4 pairs, tested on 256 with 16.

    python -m experiments.train --config=configs/recall.py:mlstm --workdir=/tmp/recall

CONTEXTS lists the contexts of the papers with their numbers of pairs. To use another one, set for example
`--config.data.sequence_length=128 --config.data.pairs=8`; the last three are the hard ones of the xLSTM paper. Variants
by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2; and `tiny`
(seconds, for tests).
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.pairs = 2
    config.data.long_length = 32
    config.data.long_pairs = 4
    config.data.vocab_size = 64


VARIANTS = _problem.VARIANTS | {"tiny": tiny}
CONTEXTS = {64: 4, 128: 8, 256: 16, 756: 48, 1024: 96, 2048: 256}  # steps -> pairs


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("recall")
    config.data.sequence_length = 64
    config.data.pairs = CONTEXTS[64]  # key-value pairs per training row
    config.data.long_length = 256
    config.data.long_pairs = CONTEXTS[256]  # pairs per row of the split "long"
    config.data.vocab_size = 8192  # the first half are keys, the second half values
    config.data.power = 0.01  # exponent of the power law by which queries become rarer after the pairs
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 200
    config.train.steps = 5_000
    config.train.eval_every = 500
    return compose(config, variant, VARIANTS, "mlstm")
