"""Which models tell the sentiment of a sentence best, without pretrained vectors: SST with two and with five classes.

    python -m experiments.sweep --sweep=experiments/sweeps/sentiment.py --workdir=/tmp/sentiment --num_workers=2
    python -m experiments.report --workdir=/tmp/sentiment

Takes about an hour for two classes on 2 CPU cores. `:five` has five classes; `:tiny` (40 steps on whole sentences)
takes 3 minutes. The test split is scored once, by the checkpoint with the best validation accuracy; the validation
accuracy of the report is that of the last step.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "majority": "majority",
    "LSTM": "lstm",
    "GRU": "gru",
    "BiLSTM": "bilstm",
    "xLSTM (ms, alternating)": "xlstm",
    "Transformer": "transformer",
}
SMALL = {"data.phrases": False, "model.features": 32, "train.eval_every": 20}
# the config's variant, changes, seeds
VARIANTS = {
    "": ("", {}, (0, 1, 2)),
    "five": (",five", {}, (0, 1, 2)),
    "tiny": ("", {"train.steps": 40, **SMALL}, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    classes, changes, seeds = VARIANTS[variant]
    return Sweep(
        question="Which model tells the sentiment of a sentence best, without pretrained vectors?",
        config=f"configs/sentiment.py:bilstm{classes}",
        points=axis("model", {name: {"config": f"configs/sentiment.py:{v}{classes}"} for name, v in MODELS.items()}),
        changes=changes,
        seeds=seeds,
        metric="test/accuracy",
        better="higher",
        also=("validation/accuracy",),
        over_steps="validation/accuracy",
        published="with two classes 85.4 for the RNTN, a network over the trees (Socher et al. 2013), and 87.5 for a "
        "BiLSTM that starts from GloVe vectors (Tai et al. 2015)",
    )
