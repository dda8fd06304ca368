"""Volatility of a stock index: the variance of tomorrow's return, from the daily prices of 1999 to 2018.

    python -m experiments.train --config=configs/volatility.py:lstm --workdir=/tmp/volatility

Variants by model: rnn, lstm_1997, lstm, gru, slstm, mlstm, xlstm (an mLSTM and an sLSTM block), transformer, mamba2;
with few parameters, constant, ewma (RiskMetrics), garch (GARCH(1,1)) and har; and `tiny` (seconds, on a simulated
series, for tests). The index is the S&P 500; `--config.data.market=nasdaq` is the NASDAQ Composite, and
`--config.data.path=FILE.csv` reads your own prices: a CSV file
with a column of dates.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import _problem
from configs._variants import compose, few_steps


def simple(kind: str) -> Callable[[ConfigDict], None]:
    """A model with few parameters, fitted to the end: only its last checkpoint is scored."""

    def change(config: ConfigDict) -> None:
        config.model.kind = kind
        config.optimizer.learning_rate = 1e-2
        config.optimizer.weight_decay = 0.0
        config.data.batch_size = 16
        config.train.eval_every = config.train.steps

    return change


def tiny(config: ConfigDict) -> None:
    config.data.market = "simulated"
    config.data.columns = "Close"
    config.data.sequence_length = 128
    config.data.scored = 32
    config.data.batch_size = 12
    config.model.residual = False
    few_steps(config)


VARIANTS = _problem.VARIANTS | {name: simple(name) for name in ("constant", "ewma", "garch", "har")} | {"tiny": tiny}


def get_config(variant: str = "") -> ConfigDict:
    config = _problem.get_config("volatility")
    config.model.features = 16
    config.model.dropout = 0.2
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.01
    config.optimizer.weight_decay = 0.1
    config.train.steps = 600
    config.train.eval_every = 50
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "lstm")
