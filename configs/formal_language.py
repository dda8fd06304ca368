"""Formal languages as in the xLSTM paper: two blocks, batch size 256, rows of 3 to 40 steps, tested on 40 to 256.

    python -m experiments.train --config=configs/formal_language.py:slstm --workdir=/tmp/parity --config.seed=1

`--config.data.language` selects another language than parity. Variants by model: rnn, lstm_1997, lstm, gru, slstm
(without convolution, as in the paper), mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2; and `tiny`
(seconds, for tests). The paper reports the best of learning rates 1e-2, 1e-3 and 1e-4 after 100,000 steps.
"""

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose


def tiny(config: ConfigDict) -> None:
    _problem.tiny(config)
    config.data.long_length = 32


VARIANTS = _problem.VARIANTS | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("formal_language")
    config.data.language = "parity"  # a name in xlstm_jax.data.problems.formal_languages.LANGUAGES
    config.data.shortest = 3  # shortest training rows
    config.data.sequence_length = 40  # longest training rows
    config.data.long_length = 256  # longest rows of the split "long"; its shortest have sequence_length
    config.data.batch_size = 256
    config.model.slstm.conv_width = 0
    config.optimizer.b2 = 0.99
    config.optimizer.weight_decay = 0.1
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 1e-2  # to 1e-5
    config.optimizer.warmup_steps = 10_000
    config.train.steps = 100_000
    config.train.eval_every = 2_000
    config.train.log_every = 100
    return compose(config, variant, VARIANTS, "xlstm")
