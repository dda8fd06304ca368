"""Which models carry out new combinations of commands: the simple, length and jump splits of SCAN.

    python -m experiments.sweep --sweep=experiments/sweeps/scan.py --workdir=/tmp/scans --num_workers=2
    python -m experiments.report --workdir=/tmp/scans

The LSTM and the xLSTM with one seed; `:seeds` has three, `:models` more models, and `:tiny` (20 steps) takes minutes.
The test part is scored once, by the checkpoint with the best validation accuracy; validation pairs are like those
trained on.
"""

from experiments.sweeping.base import Axis, Point, Sweep

SPLITS = ("simple", "length", "jump")
MODELS = {
    "LSTM": "lstm",
    "LSTM, no attention": "lstm,none",
    "GRU, Bahdanau": "gru,bahdanau",
    "xLSTM (ms)": "xlstm",
    "Transformer": "transformer",
}
FEW = {name: MODELS[name] for name in ("LSTM", "xLSTM (ms)")}


def _points(splits: tuple[str, ...], models: dict[str, str], size: str = "") -> Axis:
    return [
        Point({"split": split, "model": name}, {"config": f"configs/scan.py:{split},{one}{size}"})
        for split in splits
        for name, one in models.items()
    ]


# points, seeds
VARIANTS = {
    "": (_points(SPLITS, FEW), (0,)),
    "models": (_points(SPLITS, MODELS), (0,)),
    "seeds": (_points(SPLITS, FEW), (0, 1, 2)),
    "tiny": (_points(("length",), FEW, ",tiny"), (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    points, seeds = VARIANTS[variant]
    return Sweep(
        question="Which models carry out new combinations of commands?",
        config="configs/scan.py:lstm" + (",tiny" if variant == "tiny" else ""),
        points=points,
        seeds=seeds,
        metric="test/accuracy",
        better="higher",
        also=("test/token_accuracy", "validation/accuracy"),
        over_steps="validation/accuracy",
        published="simple 99.8%, length at most 20.8%, jump at most 12.5% (a GRU with attention); Lake & "
        "Baroni 2018, arXiv 1711.00350",
    )
