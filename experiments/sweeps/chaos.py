"""How far each model runs freely on its own predictions: every cell and block on Mackey-Glass and on Lorenz.

    python -m experiments.sweep --sweep=experiments/sweeps/chaos.py --workdir=/tmp/chaos --num_workers=2
    python -m experiments.report --workdir=/tmp/chaos

TODO
"""

from experiments.sweeping.base import Sweep, axis
from experiments.sweeps.vanishing_gradient import registered

# One layer of each cell, two blocks of each kind, and linear autoregression.
BLOCKS = {
    "sLSTM block": "slstm",
    "mLSTM block": "mlstm",
    "xLSTM (ms)": "xlstm",
    "Transformer": "transformer",
    "Mamba-2": "mamba2",
}
OTHERS = {"xLSTM 7B's block": "xlstm", "Griffin (RG-LRU)": "griffin", "RWKV-6": "rwkv6"}


def models(system: str) -> dict[str, dict[str, object]]:
    """Every registered cell as a layer, every registered block, and linear autoregression."""
    config = f"configs/chaos.py:{{}}{system}"
    cells = {
        name: {"config": config.format("lstm"), "model.pattern": "recurrent*1", "model.recurrent.cell": cell["cell"]}
        for name, cell in registered().items()
    }
    blocks = {label: {"config": config.format(variant)} for label, variant in BLOCKS.items()}
    others = {label: {"config": config.format("lstm"), "model.pattern": f"{name}*2"} for label, name in OTHERS.items()}
    linear = {"linear autoregression": {"config": config.format("linear"), "train.steps": 1, "train.eval_every": 1}}
    return cells | blocks | others | linear


# the config's variant, steps, other changes, seeds
VARIANTS = {
    "": ("", 2000, {}, (0,)),
    "mackey_glass_30": (",mackey_glass_30", 2000, {}, (0,)),
    "lorenz": (",lorenz", 2000, {}, (0,)),
    "tiny": ("", 30, {"data.series": 16, "data.series_length": 1200, "model.features": 16}, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    system, steps, changes, seeds = VARIANTS[variant]
    return Sweep(
        question="Which models, trained to predict one step of a chaotic series, run freely for long?",
        config=f"configs/chaos.py:lstm{system}",
        points=axis("model", models(system)),
        changes={"train.steps": steps, "train.eval_every": steps // 2, **changes},
        seeds=seeds,
        metric="free/valid_time",
        better="higher",
        also=("free/doubling", "free/nrmse") + (("free/nrmse_84",) if "lorenz" not in system else ()),
        over_steps="validation/nrmse",
        log=("free/nrmse", "free/nrmse_84", "validation/nrmse") if False else (),
        measure="error_growth",
        published="TODO",
    )
