"""Copy ten symbols after a lag of 50 steps: two layers, rows of 70 steps, tested on a lag of 100 too.

    python -m experiments.train --config=configs/copy_memory.py:lstm_1997 --workdir=/tmp/copy

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2; and `tiny`
(seconds, for tests).
"""

from configs import _generated as generated

VARIANTS = generated.VARIANTS


def get_config(variant: str = "lstm_1997"):
    config = generated.get_config("copy_memory", variant)
    config.data.sequence_length = 70  # 20 and the lag
    config.data.long_length = 120  # likewise, of the split "long"
    config.model.features = 64
    config.optimizer.learning_rate = 3e-3
    config.train.steps = 5_000
    config.train.eval_every = 250
    if variant == "tiny":
        generated.tiny(config)
        config.data.sequence_length = 24
        config.data.long_length = 32
    return config
