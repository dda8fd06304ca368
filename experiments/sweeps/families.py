"""All families of models on Tiny Shakespeare, with about a million parameters and the same number of steps.

    python -m experiments.sweep --sweep=experiments/sweeps/families.py --workdir=/tmp/families
    python -m experiments.report --workdir=/tmp/families

About 40 minutes on 2 CPU cores; `:tiny` (20 steps each) takes 5.
"""

from configs._families import FAMILIES, MILLION
from configs.char_lm import SMALL
from experiments.sweeping.base import Sweep, axis

MODELS = {FAMILIES[name].label: f"{name}_1m" if name in SMALL else name for name in MILLION} | {"xLSTM (msm)": "xlstm"}

VARIANTS = {"": 468, "tiny": 20}  # steps; 468 are three passes over the text


def get_sweep(variant: str = "") -> Sweep:
    steps = VARIANTS[variant]
    return Sweep(
        question="Which family predicts characters best at equal parameters, steps and recipe?",
        config="configs/char_lm.py:xlstm",
        points=axis("family", {name: {"config": f"configs/char_lm.py:{v}"} for name, v in MODELS.items()}),
        changes={
            "train.steps": steps,
            "train.eval_every": steps // 3,
            "model.dropout": 0.0,  # runs this short do not overfit
            "sample.length": 0,
        },
        published="nothing: no published table has these families at this size",
    )
