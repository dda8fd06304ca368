"""Which model forecasts the hourly series of the M4 competition best, one model for all 414 series.

    python -m experiments.sweep --sweep=experiments/sweeps/m4.py --workdir=/tmp/m4 --num_workers=2
    python -m experiments.report --workdir=/tmp/m4

Each model runs once; `:seeds` runs ES-RNN with three seeds. `:tiny` takes a few minutes. The 48 hours of the
competition are scored once, by the checkpoint with the best OWA on the 48 hours before them.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "last day": "naive",
    "DLinear": "linear",
    "LSTM": "lstm",
    "xLSTM (ms)": "xlstm",
    "minLSTM": "minlstm",
    "ES-RNN (LSTM)": "es_rnn",
    "ES-RNN (xLSTM)": "es_rnn,model.pattern=ms",
}
# models, the config's further variant, seeds
VARIANTS = {
    "": (MODELS, "", (0,)),
    "seeds": ({name: v for name, v in MODELS.items() if name == "ES-RNN (LSTM)"}, "", (0, 1, 2)),
    "tiny": (MODELS, ",tiny", (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    models, tiny, seeds = VARIANTS[variant]
    return Sweep(
        question="Which model forecasts the hourly series of the M4 competition best?",
        config="configs/m4.py:lstm",
        points=axis("model", {name: {"config": f"configs/m4.py:{v}{tiny}"} for name, v in models.items()}),
        seeds=seeds,
        metric="test/owa",
        also=("test/smape", "test/mase"),
        over_steps="validation/owa",
        published="sMAPE 9.328, MASE 0.893 and OWA 0.440 for the winner, Smyl's ES-RNN (Makridakis et al. 2020), an "
        "ensemble; sMAPE 18.383, MASE 2.395 for Naive2",
    )
