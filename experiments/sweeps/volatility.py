"""Which models predict tomorrow's variance of a stock index best, from the prices so far.

    python -m experiments.sweep --sweep=experiments/sweeps/volatility.py --workdir=/tmp/volatility --num_workers=2
    python -m experiments.report --workdir=/tmp/volatility

The S&P 500 has three seeds. `:nasdaq` has another index, `:tiny` 40 steps on a simulated series with one seed. The test
days are scored once, by the checkpoint with the best validation loss.
"""

from configs._families import FAMILIES
from experiments.sweeping.base import Sweep, axis

SIMPLE = {"constant": "constant", "EWMA": "ewma", "GARCH(1,1)": "garch", "HAR": "har"}
FAMILY = ("rnn", "lstm", "gru", "slstm", "mlstm", "transformer", "mamba2")
MODELS = SIMPLE | {FAMILIES[name].label: name for name in FAMILY} | {"xLSTM (ms)": "xlstm"}
# changes, seeds
VARIANTS = {
    "": ({}, (0, 1, 2)),
    "nasdaq": ({"data.market": "nasdaq"}, (0, 1, 2)),
    "tiny": (
        {
            "data.market": "simulated",
            "data.columns": "Close",
            "data.sequence_length": 128,
            "data.scored": 64,
            "train.steps": 40,
            "train.eval_every": 20,
        },
        (0,),
    ),
}


def get_sweep(variant: str = "") -> Sweep:
    changes, seeds = VARIANTS[variant]
    return Sweep(
        question="Which model predicts the variance of tomorrow's return best?",
        config="configs/volatility.py:lstm",
        points=axis("model", {name: {"config": f"configs/volatility.py:{v}"} for name, v in MODELS.items()}),
        changes=changes,
        seeds=seeds,
        metric="test/loss",
        also=("test/qlike_range", "validation/loss"),
        over_steps="validation/loss",
        published="on other days and indices, an LSTM trained by the likelihood predicted better than GARCH models "
        "(Complexity 2021, 5511802), while others found strong econometric models hard to beat (Rodikov & "
        "Antulov-Fantulin 2022, arXiv 2202.11581)",
    )
