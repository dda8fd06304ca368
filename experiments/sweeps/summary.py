"""Which model finds the sentences of a text that summarize it best: abstracts of papers, SciTLDR.

    python -m experiments.sweep --sweep=experiments/sweeps/summary.py --workdir=/tmp/summary --num_workers=2
    python -m experiments.report --workdir=/tmp/summary

`:seeds` has the BiLSTM alone with three seeds, `:tiny` (20 steps on simulated documents) takes minutes. The test part
is scored once, by the checkpoint with the best validation ROUGE-1.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "first sentence": "lead",
    "LSTM": "lstm",
    "GRU (both ways)": "gru",
    "BiLSTM": "bilstm",
    "xLSTM (ms, alternating)": "xlstm",
    "Transformer (alternating)": "transformer",
}
BEST = {"BiLSTM": MODELS["BiLSTM"]}
# models, the config's variant, seeds
VARIANTS = {
    "": (MODELS, "", (0,)),
    "seeds": (BEST, "", (0, 1, 2)),
    "tiny": (BEST | {"first sentence": "lead"}, ",tiny", (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    models, size, seeds = VARIANTS[variant]
    return Sweep(
        question="Which model finds the sentence that summarizes an abstract best?",
        config=f"configs/summary.py:bilstm{size}",
        points=axis("model", {name: {"config": f"configs/summary.py:{one}{size}"} for name, one in models.items()}),
        seeds=seeds,
        metric="test/rouge1",
        better="higher",
        also=("test/rouge2", "test/rougeL", "test/oracle_rouge1", "test/lead_rouge1"),
        over_steps="validation/rouge1",
        published="about 38.5 for BERTSumExt, which starts from a pretrained BERT",
    )
