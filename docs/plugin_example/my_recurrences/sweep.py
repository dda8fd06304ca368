"""Leaky integrator against LSTM: python -m experiments.sweep --sweep=my_recurrences.sweep --workdir=/tmp/leaky"""

from experiments.sweeping.base import Sweep, axis

VARIANTS = {"": 400, "tiny": 20}  # steps


def get_sweep(variant: str = "") -> Sweep:
    names = {"leaky integrator": "leaky", "LSTM": "lstm"}
    size = f",{variant}" if variant else ""
    return Sweep(
        question="Does a leak keep a mark as long as gates do?",
        config="my_recurrences.config:leaky",
        points=axis(
            "model", {label: {"config": f"my_recurrences.config:{name}{size}"} for label, name in names.items()}
        ),
        changes={"train.steps": VARIANTS[variant], "train.eval_every": VARIANTS[variant] // 2},
        metric="long/accuracy",
        better="higher",
    )
