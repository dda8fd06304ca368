"""Which detectors find anomalies best, as they come in: 58 series of the Numenta benchmark, and a water circuit (SKAB).

    python -m experiments.sweep --sweep=experiments/sweeps/anomaly.py --workdir=/tmp/anomaly --num_workers=2
    python -m experiments.report --workdir=/tmp/anomaly

`:skab` has the other benchmark, `:tiny` takes a minute. All rows are scored once, by the checkpoint with the best
validation loss; no model sees a label. The score of NAB is that of the best threshold for all series, as the benchmark
computes it; `nab_fixed` is that of the threshold of the config.
"""

from experiments.sweeping.base import Sweep, axis

NAB = {
    "windowed Gaussian": "windowed_gaussian",
    "values alone": "none",
    "LSTM": "lstm",
    "GRU": "gru",
    "xLSTM (ms)": "xlstm",
    "Transformer": "transformer",
    "LSTM autoencoder": "autoencoder",
}
SKAB = {
    "T2 + Q": "skab,t2_q",
    "values alone": "skab,none",
    "LSTM autoencoder": "skab",
    "GRU autoencoder": "skab,gru",
    "xLSTM autoencoder": "skab,xlstm",
    "LSTM forecaster": "skab,forecaster",
}
PUBLISHED = {
    "nab": "standard profile: 11.0 for random alarms, 39.6 for the windowed Gaussian, about 70 for Numenta HTM (the "
    "benchmark's repository)",
    "skab": "F1 0.74 for an LSTM autoencoder, 0.54 for an LSTM forecaster, 0.76 for T2 + Q, 0.29 for an isolation "
    "forest (the benchmark's leaderboard)",
}
# the benchmark, models, seeds
VARIANTS = {
    "": ("nab", NAB, (0, 1, 2)),
    "skab": ("skab", SKAB, (0, 1, 2)),
    "tiny": ("skab", {"LSTM forecaster": "tiny", "values alone": "tiny,none"}, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    name, models, seeds = VARIANTS[variant]
    metric, also = {
        "nab": ("test/nab", ("test/nab_low_fp", "test/nab_low_fn", "test/nab_fixed")),
        "skab": ("test/f1", ("test/false_alarms", "test/missed_alarms")),
    }[name]
    return Sweep(
        question="Which detector finds anomalies best, as they come in?",
        config="configs/anomaly.py:lstm" if name == "nab" else "configs/anomaly.py:skab",
        points=axis("model", {label: {"config": f"configs/anomaly.py:{one}"} for label, one in models.items()}),
        seeds=seeds,
        metric=metric,
        better="higher",
        also=also,
        over_steps="validation/loss",
        published=PUBLISHED[name],
    )
