"""A student's comparison of RNN, LSTM, GRU and Transformer, repeated on Tiny Shakespeare, with sLSTM, mLSTM and xLSTM.

    python -m experiments.sweep --sweep=experiments/sweeps/shakespeare.py --workdir=/tmp/shakespeare --num_workers=2
    python -m experiments.report --workdir=/tmp/shakespeare

Once at about a million parameters, as in `families`, and once with two layers or blocks of 256 features, all with one
recipe. samples.md shows how each model continues the same prompt; the columns minutes and tokens/s show its speed. When
sampling, Transformers see the last 100 characters, and the others carry a state over the whole text. Judging by the
speeds in families.md, the sweep takes about 7 hours on 2 CPU cores; `:tiny` (100 steps) takes 5 minutes.
"""

from experiments.sweeping.base import Sweep, axis, product
from experiments.sweeps.families import MODELS

PATTERNS = {  # at equal width
    "RNN": "rr",
    "LSTM": "rr",
    "GRU": "rr",
    "Transformer": "tt",
    "sLSTM": "ss",
    "mLSTM": "mm",
    "xLSTM": "ms",
}
NAMES = {"xLSTM": "xLSTM (msm)"}  # names in MODELS that differ

VARIANTS = {"": 1404, "tiny": 100}  # steps; 1404 are nine passes over the text
# For tiny variants on this text: small batches and a short validation split.
SMALL = {"train.eval_every": 25, "data.batch_size": 16, "data.train_fraction": 0.99}


def get_sweep(variant: str = "") -> Sweep:
    steps = VARIANTS[variant]
    parameters = {name: {"config": f"configs/char_lm.py:{MODELS[NAMES.get(name, name)]}"} for name in PATTERNS}
    widths = {
        name: {**parameters[name], "model.pattern": pattern, "model.features": 256}
        for name, pattern in PATTERNS.items()
    }
    return Sweep(
        question="Does RNN > LSTM = GRU > Transformer hold for perplexity, at equal parameters and at equal width?",
        config="configs/char_lm.py:xlstm",
        points=[
            *product(axis("equal", {"parameters": {}}), axis("model", parameters)),
            *product(axis("equal", {"width": {}}), axis("model", widths)),
        ],
        changes={
            "train.steps": steps,
            "train.eval_every": 156,
            "sample.prompt": "ROMEO:",
            "sample.length": 60 if variant else 400,
            **(SMALL if variant else {}),
        },
        seeds=(0,) if variant else (0, 1, 2),
        published="a student's table: perplexity of RNN 125, LSTM 46, GRU 48, Transformer 28, training times of RNN "
        ": LSTM : GRU as 1 : 3 : 2.3, on a text and at sizes that are not ours: the order alone can be compared",
    )
