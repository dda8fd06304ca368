"""Which decoder describes pictures best, and what attention brings: digits on a canvas, sentences of a small grammar.

    python -m experiments.sweep --sweep=experiments/sweeps/caption.py --workdir=/tmp/captions --num_workers=2
    python -m experiments.report --workdir=/tmp/captions

`:seeds` has the LSTM with and without the picture, with three seeds; `:tiny` (20 steps) takes minutes. The test parts
are scored once, by the checkpoint with the best validation BLEU.
"""

from experiments.sweeping.base import Sweep, axis

BEST = {"LSTM, attention": "lstm", "LSTM, blind": "blind"}
MODELS = {
    "one caption for all": "majority",
    "LSTM, blind": "blind",
    "LSTM, one vector": "lstm,none",
    "LSTM, attention": "lstm",
    "LSTM, Luong's attention": "lstm,general",
    "GRU, attention": "gru",
    "xLSTM, attention": "xlstm",
    "Transformer, attention": "transformer",
}
# models, the config's variant, seeds
VARIANTS = {"": (MODELS, "", (0,)), "seeds": (BEST, "", (0, 1, 2)), "tiny": (BEST, ",tiny", (0,))}


def get_sweep(variant: str = "") -> Sweep:
    models, size, seeds = VARIANTS[variant]
    return Sweep(
        question="Which decoder describes pictures best, and what does attention bring?",
        config=f"configs/caption.py:lstm{size}",
        points=axis("model", {name: {"config": f"configs/caption.py:{one}{size}"} for name, one in models.items()}),
        seeds=seeds,
        metric="test/exact",
        better="higher",
        also=("test/bleu", "new_combinations/exact", "validation/exact"),
        over_steps="validation/exact",
        published="nothing: these pictures are made here; a model that does not see them, and one caption for all, are "
        "the references",
    )
