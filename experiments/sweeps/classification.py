"""Which model tells the polarity of a film review best, without pretrained vectors: MR by cross-validation.

    python -m experiments.sweep --sweep=experiments/sweeps/classification.py --workdir=/tmp/polarity --num_workers=2
    python -m experiments.report --workdir=/tmp/polarity

All models on three of the ten folds. `:folds` has the BiLSTM and naive Bayes on all ten, as results on MR are
published; `:tiny` (20 steps) takes minutes. A fold's test part is scored once, by the checkpoint with the best
validation accuracy.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "majority": "majority",
    "naive Bayes": "naive_bayes",
    "LSTM": "lstm",
    "GRU": "gru",
    "BiLSTM, words alone": "bilstm,plain",
    "BiLSTM": "bilstm",
    "xLSTM (ms, alternating)": "xlstm",
    "Transformer": "transformer",
}
HEADLINE = {name: MODELS[name] for name in ("naive Bayes", "BiLSTM")}
# models, the config's variant, folds
VARIANTS = {
    "": (MODELS, "", (0, 1, 2)),
    "folds": (HEADLINE, "", tuple(range(10))),
    "tiny": (HEADLINE, ",tiny", (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    models, size, folds = VARIANTS[variant]
    return Sweep(
        question="Which model tells the polarity of a film review best, without pretrained vectors?",
        config=f"configs/classification.py:bilstm{size}",
        points=axis("model", {name: {"config": f"configs/classification.py:{v}{size}"} for name, v in models.items()}),
        seeds=folds,
        repeated="data.fold",
        metric="test/accuracy",
        better="higher",
        also=("validation/accuracy",),
        over_steps="validation/accuracy",
        published="about 78.5 for naive Bayes on words and pairs, over other folds of these sentences",
    )
