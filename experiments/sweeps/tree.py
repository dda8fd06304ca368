"""Whether trees help to tell sentiment: networks over trees and over words, on the Stanford Sentiment Treebank.

    python -m experiments.sweep --sweep=experiments/sweeps/tree.py --workdir=/tmp/trees --num_workers=2
    python -m experiments.report --workdir=/tmp/trees

With one seed. `:seeds` has the n-ary Tree-LSTM with three seeds, `:two` the same with two classes, `:shapes` trees of
other shapes; `:tiny` (20 steps) takes a minute. The test part is scored once, by the checkpoint with the best
validation accuracy.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "Tree-LSTM, n-ary": "nary",
    "Tree-LSTM, child-sum": "childsum",
    "RNTN": "rntn",
    "LSTM": "lstm",
    "BiLSTM": "bilstm",
    "xLSTM (ms, alternating)": "xlstm",
    "Transformer": "transformer",
}
SHAPES = {"the parser's": "nary", "balanced": "nary,balanced", "a chain": "nary,chain"}
PUBLISHED = (
    "without pretrained vectors, five classes / two: 45.7 / 85.4 for the RNTN (Socher et al. 2013), 43.9 / 82.0 for a "
    "Tree-LSTM; with tuned GloVe vectors 51.0 / 88.0 (Tai et al. 2015, arXiv 1503.00075)"
)
BEST = {"Tree-LSTM, n-ary": "nary"}
# models, the config's variant, seeds
VARIANTS = {
    "": (MODELS, "", (0,)),
    "seeds": (BEST, "", (0, 1, 2)),
    "two": (BEST, ",two", (0, 1, 2)),
    "shapes": (SHAPES, "", (0,)),
    "tiny": (BEST | {"LSTM": "lstm"}, ",tiny", (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    models, size, seeds = VARIANTS[variant]
    what = "tree" if models is SHAPES else "model"
    return Sweep(
        question="Do trees help to tell sentiment, without pretrained vectors?",
        config=f"configs/tree.py:nary{size}",
        points=axis(what, {name: {"config": f"configs/tree.py:{one}{size}"} for name, one in models.items()}),
        seeds=seeds,
        metric="test/accuracy",
        better="higher",
        also=("test/phrase_accuracy", *(() if size == ",two" else ("test/binary_accuracy",)), "validation/accuracy"),
        over_steps="validation/accuracy",
        published=PUBLISHED,
    )
