"""A small xLSTM (one mLSTM block, one sLSTM block) on the source of Python's own standard library, byte by byte.

    python -m experiments.train --config=configs/quickstart.py --workdir=/tmp/quickstart

Takes under 3 minutes on 2 CPU cores.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.source = "stdlib"
    config.data.tokenizer = "byte"
    config.model.features = 128
    config.model.pattern = "ms"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 30
    config.train.steps = 400
    config.sample.prompt = "def "
    return config
