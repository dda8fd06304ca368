"""Which models learn which formal languages, and whether they generalise to rows six times as long.

    python -m experiments.sweep --sweep=experiments/sweeps/formal_languages.py --workdir=/tmp/fl
    python -m experiments.report --workdir=/tmp/fl

As in the xLSTM paper (Beck et al. 2024, arXiv 2405.04517, section 4.1 and its appendix): 15 languages, two blocks or
layers, batch size 256, rows of 3 to 40 steps, tested on 40 to 256, the best of three learning rates, 100,000 steps.
This takes weeks on 2 CPU cores (`--shard` splits it over machines). `:parity` has only that language and fewer steps,
and takes an hour on 2 cores; `:tiny` (three languages, batch size 64, 800 steps) takes 7 minutes.
"""

from experiments.sweeping.base import Sweep, product, values
from experiments.sweeps.models import models
from xlstm_jax.data.problems.formal_languages import LANGUAGES

NAMES = ("RNN", "LSTM", "GRU", "sLSTM", "mLSTM", "xLSTM (ms)", "Transformer", "Mamba-2")
SHORT = ("LSTM", "sLSTM", "mLSTM", "Transformer")
# languages, models, learning rates, steps, batch, features, seeds
VARIANTS = {
    "": (tuple(LANGUAGES), NAMES, (1e-2, 1e-3, 1e-4), 100_000, 256, 128, (0, 1, 2)),
    "parity": (("parity",), SHORT, (3e-3,), 6_000, 256, 64, (0,)),
    "tiny": (("parity", "even_pairs", "majority"), SHORT, (3e-3,), 800, 64, 64, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    languages, names, rates, steps, batch, features, seeds = VARIANTS[variant]
    return Sweep(
        question="Which models learn which formal languages, and does it hold on longer rows?",
        config="configs/formal_language.py:xlstm",
        points=product(
            values("data.language", languages),
            models("formal_language", names),
            values("optimizer.learning_rate", rates),
        ),
        changes={
            "train.steps": steps,
            "train.eval_every": steps // 4,
            "optimizer.warmup_steps": steps // 10,
            "data.batch_size": batch,
            "model.features": features,
        },
        seeds=seeds,
        metric="long/scaled_accuracy",
        better="higher",
        also=("validation/scaled_accuracy",),
        best_of="learning_rate",
        published=(
            "only models with memory mixing (LSTM, sLSTM and xLSTM that hold it) solve parity and the other regular "
            "languages that need a state to be tracked; Transformers, mLSTM and Mamba do not (Beck et al. 2024, "
            "figure on the Chomsky hierarchy)"
        ),
    )
