"""Which models forecast best: an electricity transformer 96 hours ahead, and five more data sets.

    python -m experiments.sweep --sweep=experiments/sweeps/forecasting.py --workdir=/tmp/forecasting --num_workers=2
    python -m experiments.report --workdir=/tmp/forecasting

Variants: exchange, illness, los_speed, pems, pollution; heads (three kinds of heads on ETTh1); tiny. The test part is
scored once, by the checkpoint with the best validation loss. Errors are in units of the training part's standard
deviation; `rmse` and `mae_units` are in the data's own units.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "last season": "naive",
    "DLinear": "linear",
    "xLSTMTime": "xlstm_time",
    "LSTM": "lstm",
    "GRU": "gru",
    "xLSTM (ms)": "xlstm",
    "minLSTM": "minlstm",
}
# Those that read covariates.
WITH_COVARIATES = {name: kind for name, kind in MODELS.items() if kind not in ("linear", "xlstm_time")}
HEADS = {"direct": "lstm", "recursive": "lstm,recursive", "sequence to sequence": "lstm,seq2seq"}
UNITS = ("test/rmse", "test/mae_units")
PUBLISHED = {
    "exchange": "MSE about 0.08 for DLinear and for repeating the last value (Zeng et al. 2023)",
    "illness": "MSE about 2.2 for DLinear with a context of 104 weeks (Zeng et al. 2023)",
    "pollution": "no common split; repeating the last day is the reference",
    "tiny": "nothing: these runs only show that everything works",
    "ett_h1": "MSE and MAE 0.375 and 0.399 for DLinear (Zeng et al. 2023), 0.368 and 0.395 for xLSTMTime (Alharthi & "
    "Mahmood 2024), as their authors give them",
    "los_speed": "RMSE 5.13 at 15 minutes for T-GCN, a network over the graph of the roads (Zhao et al. 2019)",
    "pems": "MAE about 7.2 for the LSTM of the data's repository",
}
# the config's data, models or heads, seeds
VARIANTS = {
    "": ("ett_h1", MODELS, (0, 1, 2)),
    "heads": ("ett_h1", HEADS, (0,)),
    "exchange": ("exchange", MODELS, (0,)),
    "illness": ("illness", MODELS, (0,)),
    "los_speed": ("los_speed", MODELS, (0,)),
    "pems": ("pems", MODELS, (0,)),
    "pollution": ("pollution", WITH_COVARIATES, (0,)),
    "tiny": ("tiny", MODELS, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    data, points, seeds = VARIANTS[variant]
    what = "head" if points is HEADS else "model"
    return Sweep(
        question=f"Which {what} forecasts best ({data})?",
        config=f"configs/forecasting.py:lstm,{data}",
        points=axis(what, {name: {"config": f"configs/forecasting.py:{one},{data}"} for name, one in points.items()}),
        seeds=seeds,
        metric="test/mse",
        also=("test/mae", *(UNITS if data in ("los_speed", "pems", "pollution") else ())),
        over_steps="validation/mse",
        published=PUBLISHED[data],
    )
