"""All families of models on Tiny Shakespeare, with about a million parameters and the same number of steps.

    python -m experiments.sweep --sweep=experiments/sweeps/families.py --workdir=/tmp/families
    python -m experiments.report --workdir=/tmp/families

About 40 minutes on 2 CPU cores; `:tiny` (20 steps each) takes 5.
"""

from experiments.sweeping.base import Sweep, axis

FAMILIES = {
    "RNN": "rnn_1m",
    "LSTM": "lstm_1m",
    "GRU": "gru_1m",
    "sLSTM": "slstm_1m",
    "mLSTM": "mlstm_1m",
    "xLSTM (msm)": "xlstm",
    "xLSTM 7B's block": "xlstm_7b",
    "Transformer": "transformer",
    "Mamba-2": "mamba2",
    "minLSTM": "minlstm",
    "minGRU": "mingru",
    "Griffin (RG-LRU)": "griffin",
    "RWKV-6": "rwkv6",
}

VARIANTS = {"": 468, "tiny": 20}  # steps; 468 are three passes over the text


def get_sweep(variant: str = "") -> Sweep:
    steps = VARIANTS[variant]
    return Sweep(
        question="Which family predicts characters best at equal parameters, steps and recipe?",
        config="configs/char_lm.py:xlstm",
        points=axis("family", {name: {"config": f"configs/char_lm.py:{v}"} for name, v in FAMILIES.items()}),
        changes={
            "train.steps": steps,
            "train.eval_every": steps // 3,
            "model.dropout": 0.0,  # runs this short do not overfit
            "sample.length": 0,
        },
        published="nothing: no published table has these families at this size",
    )
