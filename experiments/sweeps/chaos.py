"""How far each model runs freely on its own predictions: every cell and block on Mackey-Glass and on Lorenz.

    python -m experiments.sweep --sweep=experiments/sweeps/chaos.py --workdir=/tmp/chaos --num_workers=2
    python -m experiments.report --workdir=/tmp/chaos

`:cells` has no blocks, `:tiny` takes minutes. The free runs are scored once, by the checkpoint with the best validation
loss.
"""

from typing import Any

from experiments.sweeping.base import Sweep, axis
from experiments.sweeps.vanishing_gradient import registered
from xlstm_jax.cells import CELLS

PUBLISHED = (
    "for Mackey-Glass with tau 17, an echo state network of 1,000 units has an NRMSE of about 10^-4.2 at 84 steps, and "
    "is 2,400 times as accurate as methods before it (Jaeger & Haas 2004); for Lorenz, over 30 Lyapunov times by a "
    "reservoir in double precision (Hurley & Shaheen 2025, arXiv 2508.06730)"
)
# Blocks by their labels: variants of the config, or patterns.
VARIANT = {
    "sLSTM block": "slstm",
    "mLSTM block": "mlstm",
    "xLSTM (ms)": "xlstm",
    "Transformer": "transformer",
    "Mamba-2": "mamba2",
}
PATTERN = {"xLSTM 7B's block": "xlstm*2", "Griffin (RG-LRU)": "griffin*2", "RWKV-6": "rwkv6*2"}


def cells(system: str) -> dict[str, dict[str, Any]]:
    """One layer of every registered cell."""
    found = {
        name: {"config": f"configs/chaos.py:lstm{system}", "model.pattern": "recurrent", "model.recurrent.cell": name}
        for name in {CELLS.get(name): name for name in reversed(registered())}.values()  # no cell by a second name
    }
    return dict(sorted(found.items()))


def models(system: str) -> dict[str, dict[str, Any]]:
    """The cells, two blocks of every kind, and linear autoregression."""
    variants = {label: {"config": f"configs/chaos.py:{name}{system}"} for label, name in VARIANT.items()}
    patterns = {
        label: {"config": f"configs/chaos.py:lstm{system}", "model.pattern": pattern}
        for label, pattern in PATTERN.items()
    }
    linear = {"config": f"configs/chaos.py:linear{system}", "train.steps": 1, "train.eval_every": 1}
    return {**cells(system), **variants, **patterns, "linear autoregression": linear}


STEPS = {"train.steps": 1200, "train.eval_every": 300}
SMALL = {"data.series": 8, "data.series_length": 600, "data.free_steps": 200, "model.features": 16}
# the config's variant, models, changes
VARIANTS = {
    "": ("", models, STEPS),
    "cells": ("", cells, STEPS),
    "mackey_glass_30": (",mackey_glass_30", models, STEPS),
    "lorenz": (",lorenz", models, STEPS),
    "tiny": ("", models, {"train.steps": 40, "train.eval_every": 20, **SMALL}),
}


def get_sweep(variant: str = "") -> Sweep:
    system, points, changes = VARIANTS[variant]
    errors = ("validation/nrmse", *(() if "lorenz" in system else ("free/nrmse_84",)))
    return Sweep(
        question="Which models, trained to predict one step of a chaotic series, run freely for long?",
        config=f"configs/chaos.py:lstm{system}",
        points=axis("model", points(system)),
        changes=changes,
        metric="free/valid_time",
        better="higher",
        also=("free/doubling", *errors),
        over_steps="validation/nrmse",
        log=errors,
        measure="error_growth",
        published=PUBLISHED,
    )
