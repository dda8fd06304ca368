"""Which blocks make the best zero-shot forecaster, trained on synthetic series only.

    python -m experiments.sweep --sweep=experiments/sweeps/forecaster.py --workdir=/tmp/forecasters --num_workers=2
    python -m experiments.report --workdir=/tmp/forecasters

Small models take one to two hours each on one CPU core. `:full` has the default sizes. `:tuning` tunes the run in
/tmp/forecaster on each data set, minutes each; `:tuning_small` does so with a small one. `:tiny` takes minutes in all.
Scores are those of the split "benchmark", relative to the seasonal naive forecast, whose score is 1.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "sLSTM (TiRex's block)": "xlstm",
    "mLSTM and sLSTM": "ms",
    "LSTM": "lstm",
    "minLSTM": "minlstm",
    "Transformer": "transformer",
}
SETS = ("m4_hourly", "ett_h1", "exchange", "illness", "pollution", "nab")
# further variant of the config, seeds
TUNING = {"tuning": "", "tuning_small": ",small"}
VARIANTS = {
    "": (",small", (0,)),
    "full": ("", (0, 1, 2)),
    **{name: (size, (0,)) for name, size in TUNING.items()},
    "tiny": (",tiny", (0,)),
}
PUBLISHED = (
    "on other data: Chronos-Bolt (tiny, 9M parameters, trained on real series) has 0.437 of the seasonal naive "
    "weighted quantile loss and 0.783 of its MASE on M4 hourly, 0.884 and 0.969 on the last 30 exchange rates (its "
    "repository, scripts/evaluation/results)"
)


def get_sweep(variant: str = "") -> Sweep:
    size, seeds = VARIANTS[variant]
    if variant in TUNING:
        return _tuning(size)
    benchmark = variant != "tiny"
    return Sweep(
        question="Which blocks make the best zero-shot forecaster, trained on synthetic series only?",
        config=f"configs/forecaster.py:xlstm{size}",
        points=axis("model", {name: {"config": f"configs/forecaster.py:{v}{size}"} for name, v in MODELS.items()}),
        seeds=seeds,
        metric="benchmark/relative_wql" if benchmark else "validation/loss",
        also=("benchmark/relative_mase", "benchmark/coverage") if benchmark else (),
        over_steps="validation/loss",
        published=PUBLISHED if benchmark else "nothing: these runs only show that everything works",
    )


def _tuning(size: str) -> Sweep:
    return Sweep(
        question="What does fine-tuning on a data set's own training part gain?",
        config=f"configs/forecaster.py:xlstm{size},illness",
        points=axis("tuned on", {name: {"config": f"configs/forecaster.py:xlstm{size},{name}"} for name in SETS}),
        changes={"train.init_from": "/tmp/forecaster"},
        metric="test/relative_wql",
        also=("test/relative_mase", "test/coverage"),
        over_steps="validation/loss",
        published="nothing that is comparable; the zero-shot scores are those of /tmp/forecaster on the same windows",
    )
