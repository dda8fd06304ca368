"""Which model tells best who dies in hospital after 48 hours of intensive care: five folds of the Challenge 2012.

python -m experiments.sweep --sweep=experiments/sweeps/clinical.py --workdir=/tmp/clinical --num_workers=2
python -m experiments.report --workdir=/tmp/clinical
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "prior": "prior",
    "logistic regression": "logistic",
    "LSTM on means": "lstm_means",
    "LSTM": "lstm",
    "GRU": "gru",
    "GRU with statistics so far": "gru,history",
    "xLSTM": "xlstm",
    "GRU-D": "grud",
}
FOLDS = tuple(range(5))
# the config's variant, folds
VARIANTS = {"": ("", FOLDS), "tiny": (",tiny", (0,))}


def get_sweep(variant: str = "") -> Sweep:
    size, folds = VARIANTS[variant]
    return Sweep(
        question="Which model tells best who dies in hospital, from 48 hours of intensive care?",
        config=f"configs/clinical.py:grud{size}",
        points=axis("model", {name: {"config": f"configs/clinical.py:{v}{size}"} for name, v in MODELS.items()}),
        seeds=folds,
        repeated="data.fold",
        metric="test/auc",
        better="higher",
        also=("test/average_precision", "validation/auc"),
        over_steps="validation/auc",
        published="about 0.842 for the GRU-D and 0.803 for an LSTM on means, over five folds (Che et al. 2018)",
    )
