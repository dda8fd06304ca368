"""Common advice on training LSTMs, tested by changing one recipe in one way at a time, on Tiny Shakespeare.

    python -m experiments.sweep --sweep=experiments/sweeps/recipes.py --workdir=/tmp/recipes --num_workers=2
    python -m experiments.report --workdir=/tmp/recipes

The base has two LSTM layers, forget bias 1, orthogonal recurrent matrices, no dropout, no norm, gradients clipped at a
norm of 1, and Adam. It is trained for twelve passes over the text, so that dropout can have an effect. Judging by the
speeds in families.md, the sweep takes about 7 hours on 2 CPU cores; `:tiny` (100 steps) takes 4 minutes.
"""

from experiments.sweeping.base import Sweep, axis
from experiments.sweeps.shakespeare import SMALL

CHANGES = {
    "base": {},
    "forget bias 0": {"model.recurrent.options": "forget_bias=0"},
    "forget bias 3": {"model.recurrent.options": "forget_bias=3"},
    "forget bias 5": {"model.recurrent.options": "forget_bias=5"},
    "recurrent matrices Glorot uniform": {"model.recurrent.options": "recurrent_init=glorot"},
    "recurrent matrices uniform, 1/sqrt(width)": {"model.recurrent.options": "recurrent_init=uniform"},
    "recurrent matrices identity": {"model.recurrent.options": "recurrent_init=identity"},
    "dropout 0.2 between layers": {"model.dropout": 0.2},
    "dropout 0.2, one mask a sequence": {
        "model.recurrent.dropout": 0.2,
        "model.recurrent.dropout_kind": "variational",
    },
    "dropout 0.2, a fresh mask a step": {"model.recurrent.dropout": 0.2, "model.recurrent.dropout_kind": "recurrent"},
    "zoneout 0.1": {"model.recurrent.dropout": 0.1, "model.recurrent.dropout_kind": "zoneout"},
    "layer norm inside the cell": {"model.recurrent.cell": "lstm_ln"},
    "layer norm before each layer": {"model.recurrent.norm": "layer"},
    "layer norm before each layer, residual": {"model.recurrent.norm": "layer", "model.recurrent.residual": True},
    "batch norm before each layer": {"model.recurrent.norm": "batch"},
    "no clipping": {"optimizer.clip_norm": 0.0},
    "clipping at 0.1": {"optimizer.clip_norm": 0.1},
    "RMSProp": {"optimizer.name": "rmsprop", "optimizer.b2": 0.95},
    "SGD with momentum": {"optimizer.name": "sgd", "optimizer.momentum": 0.9, "optimizer.learning_rate": 1.0},
}

VARIANTS = {"": 1872, "tiny": 100}  # steps; 1872 are twelve passes over the text


def get_sweep(variant: str = "") -> Sweep:
    steps = VARIANTS[variant]
    return Sweep(
        question="Which of the customs of training LSTMs matter?",
        config="configs/char_lm.py:lstm_1m",
        points=axis("change", CHANGES),
        changes={
            "optimizer.name": "adam",
            "optimizer.weight_decay": 0.0,
            "model.dropout": 0.0,
            "train.steps": steps,
            "train.eval_every": 156,
            "sample.length": 0,
            **(SMALL if variant else {}),
        },
        seeds=(0,) if variant else (0, 1, 2),
        published="the order alone, on other texts and sizes: a forget bias of 1 is better than 0 (Jozefowicz et al. "
        "2015); one mask a sequence, also on what is fed back, is better than masks between layers alone (Gal & "
        "Ghahramani 2016, arXiv 1512.05287); layer norm makes training faster (Ba et al. 2016, arXiv 1607.06450)",
    )
