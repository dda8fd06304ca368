"""The question of the search space odyssey: what does an LSTM lose or gain if one of its parts changes?

    python -m experiments.sweep --sweep=experiments/sweeps/odyssey.py --workdir=/tmp/odyssey --num_workers=2
    python -m experiments.report --workdir=/tmp/odyssey

V is the LSTM with peepholes; each of the others differs from it in one thing. Tasks: characters of Tiny Shakespeare,
and the parity of short bit strings, for which the loss at chance is 0.693. The paper searches the learning rate, the
width and the input noise for each variant; here all variants have the same recipe and width. Judging by the speeds in
families.md, the sweep takes about 3 hours on 2 CPU cores; `:tiny` (100 and 400 steps, strings of at most 16 bits) takes
5 minutes.
"""

from experiments.sweeping.base import Sweep, axis, product
from experiments.sweeps.shakespeare import SMALL

CELLS = {
    "V vanilla, with peepholes": "lstm_peephole",
    "NIG no input gate": "lstm_nig",
    "NFG no forget gate": "lstm_nfg",
    "NOG no output gate": "lstm_nog",
    "NIAF input not squashed": "lstm_niaf",
    "NOAF output not squashed": "lstm_noaf",
    "CIFG forget gate is 1 - input gate": "lstm_cifg",
    "NP no peepholes": "lstm_np",
    "FGR gates see all gates": "lstm_fgr",
}

VARIANTS = {"": (1404, 1000), "tiny": (100, 400)}  # steps on characters and on parity
SHORT = {"data.sequence_length": 16, "data.long_length": 16, "optimizer.learning_rate": 1e-2}


def get_sweep(variant: str = "") -> Sweep:
    characters, parity = VARIANTS[variant]
    tasks = {
        "characters": {
            "config": "configs/char_lm.py:lstm_1m",
            "train.steps": characters,
            "train.eval_every": 156,
            "sample.length": 0,
            **(SMALL if variant else {}),
        },
        "parity": {
            "config": "configs/formal_language.py:lstm",
            "train.steps": parity,
            "train.eval_every": 100,
            "train.log_every": 10,
            "data.batch_size": 64,
            "optimizer.learning_rate": 3e-3,
            "optimizer.warmup_steps": parity // 10,
            **(SHORT if variant else {}),
        },
    }
    return Sweep(
        question="Which of its parts can the LSTM do without?",
        config="configs/char_lm.py:lstm_1m",
        points=product(
            axis("task", tasks), axis("variant", {name: {"model.recurrent.cell": c} for name, c in CELLS.items()})
        ),
        seeds=(0,) if variant else (0, 1, 2),
        published="Greff et al. 2015 (arXiv 1503.04069; TIMIT, IAM Online, JSB Chorales): none is significantly better "
        "than V; the forget gate and the output's squashing are its most critical parts (NFG, NOAF); CIFG and NP do no "
        "significant harm. The order alone: these are other tasks, without their search",
    )
