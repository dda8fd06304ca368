"""The largest lag at which models with two layers or blocks solve copying of ten symbols and the adding problem.

    python -m experiments.sweep --sweep=experiments/sweeps/memory_length.py --workdir=/tmp/memory
    python -m experiments.report --workdir=/tmp/memory

Takes hours on 2 CPU cores (`--shard` splits it over machines); `:tiny` (600 steps, short lags) takes a few minutes.
"""

from collections.abc import Sequence

from experiments.sweeping.base import Axis, Sweep, axis, product
from experiments.sweeps.models import models

NAMES = ("RNN", "LSTM", "GRU", "sLSTM", "mLSTM", "xLSTM (ms)", "Transformer")
# models, lags, features, steps, seeds
VARIANTS = {
    "": (NAMES, (10, 50, 100, 200), 128, 3_000, (0, 1, 2)),
    "tiny": (("RNN", "GRU", "mLSTM"), (6, 12), 32, 600, (0,)),
}


def points(names: Sequence[str], lags: Sequence[int]) -> Axis:
    """Copying: ten symbols, the lag, and ten steps to copy them. Adding: rows whose smallest lag, T/2, is `lag`."""
    rows = {"copy_memory": lambda lag: lag + 20, "adding": lambda lag: 11 * lag // 5}
    found = []
    for task, length in rows.items():
        cells = models(task, names)
        lengths = axis("lag", {str(lag): {"data.sequence_length": length(lag)} for lag in lags})
        found += product(axis("task", {task: {}}), cells, lengths)
    return found


def get_sweep(variant: str = "") -> Sweep:
    names, lags, features, steps, seeds = VARIANTS[variant]
    return Sweep(
        question="Over how many steps does each kind of model learn to remember?",
        config="configs/copy_memory.py:lstm",
        points=points(names, lags),
        changes={
            "model.features": features,
            "data.long_length": 0,
            "train.steps": steps,
            "train.eval_every": steps // 6,
        },
        seeds=seeds,
        metric="validation/solved",
        better="higher",
        threshold=0.99,
        log=("lag",),
        published=(
            "the LSTM without forget gate solves the adding problem at least lags of 50, 250 and 500 after 74,000, "
            "209,000 and 853,000 rows (Hochreiter & Schmidhuber 1997, table 7); copying, the LSTM beats who "
            "remembers nothing at a lag of 100 and not at 200 (Arjovsky et al. 2016, figure 1). 3,000 steps are "
            "192,000 rows"
        ),
    )
