"""How d(output at T) / d(input at t) decays with the lag: one layer of each cell, before and after learning to add.

    python -m experiments.sweep --sweep=experiments/sweeps/vanishing_gradient.py --workdir=/tmp/gradients
    python -m experiments.report --workdir=/tmp/gradients

Takes about half an hour on 2 CPU cores (estimated); `:tiny` (60 steps, rows of 44) takes a minute.
`:cells` compares all cells in `xlstm_jax.cells.CELLS`, including new ones.
"""

import dataclasses
from dataclasses import MISSING

from experiments.sweeping.base import Sweep, axis
from xlstm_jax.cells import CELLS

KNOWN = {
    "RNN": {"cell": "rnn"},
    "LSTM, no forget gate": {"cell": "lstm_1997"},
    "LSTM, forget bias 0": {"cell": "lstm", "options": "forget_bias=0"},
    "LSTM, forget bias 1": {"cell": "lstm", "options": "forget_bias=1"},
    "LSTM, forget bias 5": {"cell": "lstm", "options": "forget_bias=5"},
    "GRU": {"cell": "gru"},
    "sLSTM": {"cell": "slstm"},
    "mLSTM": {"cell": "mlstm"},
}


def registered() -> dict[str, dict[str, str]]:
    """All registered cells that map any vectors to vectors and whose config requires only the widths."""
    cells = {name: CELLS.get(name) for name in CELLS.names()}
    found = {name: {"cell": name} for name, cell in cells.items() if cell.kind == "sequence" and cell.parts == 1}

    def needed(name: str) -> set[str]:
        return {field.name for field in dataclasses.fields(CELLS.get(name).Config) if field.default is MISSING}

    return {name: cell for name, cell in found.items() if needed(name) <= {"in_features", "features"}}


# cells, steps, features, the longest rows, seeds
VARIANTS = {
    "": (KNOWN, 4_000, 64, 110, (0, 1, 2)),
    "cells": (registered(), 4_000, 64, 110, (0,)),
    "tiny": (KNOWN, 60, 32, 44, (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    known, steps, features, length, seeds = VARIANTS[variant]
    cells = {name: {f"model.recurrent.{key}": value for key, value in cell.items()} for name, cell in known.items()}
    return Sweep(
        question="How does the gradient from the end of a sequence fade with the lag, before and after training?",
        config="configs/adding.py:lstm",
        points=axis("cell", cells),
        changes={
            "model.pattern": "r",
            "model.features": features,
            "data.sequence_length": length,
            "data.long_length": 0,
            "train.steps": steps,
            "train.eval_every": steps // 4,
        },
        seeds=seeds,
        log=("validation/loss",),
        measure="gradient_by_lag",
        published=(
            "what is said of the start, no table: without a forget gate the cell state passes errors on as they are "
            "(Hochreiter & Schmidhuber 1997), with the gate's bias at 0 it halves them at every step, and a bias of 1 "
            "or more helps (Jozefowicz et al. 2015); an RNN's fade or grow exponentially (Bengio et al. 1994)"
        ),
    )
