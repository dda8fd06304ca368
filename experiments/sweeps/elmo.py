"""What the states of a bidirectional language model (ELMo) gain as features of words: chunks, entities, sentiment.

    python -m experiments.sweep --sweep=experiments/sweeps/elmo.py --workdir=/tmp/elmo_gain --num_workers=2
    python -m experiments.report --workdir=/tmp/elmo_gain

Reads the run in /tmp/elmo (`configs/elmo.py:lstm`), which has to be trained first. `:ner` and `:sentiment` are the
other two tasks; `:tiny` (20 steps) takes minutes. The test part is scored once, by the best checkpoint on validation.
"""

from experiments.sweeping.base import Sweep, axis

BILM = {"none": "", "biLM": "/tmp/elmo"}
LIKE = "on entities of CoNLL-2003, after 30 million sentences, ELMo adds 2.06 to 90.15 F1 (Peters et al. 2018, table 1)"
PUBLISHED = {
    "chunking": f"nothing for chunks; {LIKE}",
    "ner": f"nothing for these data; {LIKE}",
    "sentiment": "with five classes, 54.7 instead of 51.4 (Peters et al. 2018, arXiv 1802.05365, table 1)",
}
# config, the config's variant, seeds
VARIANTS = {
    "": ("chunking", "bilstm", (0, 1, 2)),
    "ner": ("ner", "bilstm", (0, 1, 2)),
    "sentiment": ("sentiment", "bilstm", (0, 1, 2)),
    "tiny": ("ner", "bilstm,tiny", (0,)),
}
THINGS = {"chunking": "for finding chunks", "ner": "for finding entities", "sentiment": "for telling sentiment"}


def get_sweep(variant: str = "") -> Sweep:
    file, model, seeds = VARIANTS[variant]
    metric = "accuracy" if file == "sentiment" else "f1"
    return Sweep(
        question=f"What do the states of a bidirectional language model gain {THINGS[file]}?",
        config=f"configs/{file}.py:{model}",
        points=axis("states read", {name: {"data.bilm": path} for name, path in BILM.items()}),
        seeds=seeds,
        metric=f"test/{metric}",
        better="higher",
        also=(f"validation/{metric}",),
        over_steps=f"validation/{metric}",
        published=PUBLISHED[file],
    )
