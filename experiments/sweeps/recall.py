"""How many key-value pairs each model recalls, also in rows twice as long.

    python -m experiments.sweep --sweep=experiments/sweeps/recall.py --workdir=/tmp/recall
    python -m experiments.report --workdir=/tmp/recall

Multi-query associative recall with the xLSTM paper's contexts (configs/recall.py), two blocks or layers, the best of
three learning rates. This takes days on 2 CPU cores (`--shard` splits it over machines). `:tiny` (rows of 32 steps with
4 pairs, a vocabulary of 128, 400 steps) takes 2 minutes.
"""

from configs.recall import CONTEXTS
from experiments.sweeping.base import Sweep, axis, product, values
from experiments.sweeps.models import models

NAMES = ("LSTM", "sLSTM", "mLSTM", "xLSTM (ms)", "Transformer", "Mamba-2")
# pairs for each number of steps, vocabulary, models, learning rates, steps, features, seeds
VARIANTS = {
    "": (CONTEXTS, 8192, NAMES, (1e-2, 1e-3, 1e-4), 20_000, 256, (0, 1, 2)),
    "tiny": ({32: 4}, 128, NAMES, (3e-3,), 400, 64, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    contexts, vocabulary, names, rates, steps, features, seeds = VARIANTS[variant]
    sizes = {
        str(pairs): {
            "data.sequence_length": length,
            "data.pairs": pairs,
            "data.long_length": 2 * length,
            "data.long_pairs": pairs,
        }
        for length, pairs in contexts.items()
    }
    return Sweep(
        question="How many pairs of key and value does each model recall, and in rows twice as long?",
        config="configs/recall.py:mlstm",
        points=product(
            models("recall", names),
            axis("pairs", sizes),
            values("optimizer.learning_rate", rates),
        ),
        changes={
            "data.vocab_size": vocabulary,
            "model.features": features,
            "train.steps": steps,
            "train.eval_every": steps // 4,
            "optimizer.warmup_steps": steps // 10,
        },
        seeds=seeds,
        metric="validation/accuracy",
        better="higher",
        also=("long/accuracy",),
        best_of="learning_rate",
        published=(
            "of the models without attention xLSTM[1:1] recalls the most, and the Transformer nearly all (Beck et al. "
            "2024, section 4.1); recall grows with the width of the state (Arora et al. 2023)"
        ),
    )
