"""Which parts of a tagger find chunks best: the stack, the CRF, the letters of words. CoNLL-2000 and WNUT 2017.

    python -m experiments.sweep --sweep=experiments/sweeps/tagging.py --workdir=/tmp/tagging --num_workers=2
    python -m experiments.report --workdir=/tmp/tagging

`:wnut17` has entities in messages, `:seeds` the BLSTM-CRF alone with three seeds, `:tiny` (20 steps) takes minutes. The
test part is scored once, by the checkpoint with the best validation F1.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "each word alone": "words",
    "BLSTM": "bilstm,softmax,no_letters",
    "BLSTM + letters": "bilstm,softmax",
    "BLSTM-CRF": "bilstm,no_letters",
    "BLSTM-CRF + letters": "bilstm",
    "xLSTM-CRF + letters": "xlstm",
    "Transformer-CRF + letters": "transformer",
}
PUBLISHED = {
    "chunking": "F1 94.46 for a BLSTM-CRF with Senna's word vectors (Huang, Xu & Yu 2015, arXiv 1508.01991); 77.07 for "
    "the commonest chunk of each part of speech (the shared task's baseline)",
    "ner": "entity F1 about 41.9 for the best system of the shared task, with gazetteers and vectors (Derczynski et "
    "al. 2017)",
}
BEST = {"BLSTM-CRF + letters": "bilstm"}
# config, models, the config's variant, seeds
VARIANTS = {
    "": ("chunking", MODELS, "", (0,)),
    "wnut17": ("ner", MODELS, "", (0, 1, 2)),
    "seeds": ("chunking", BEST, "", (0, 1, 2)),
    "tiny": ("ner", BEST | {"each word alone": "words"}, ",tiny", (0,)),
}


def get_sweep(variant: str = "") -> Sweep:
    file, models, size, seeds = VARIANTS[variant]
    return Sweep(
        question=f"Which parts of a tagger find {'chunks' if file == 'chunking' else 'entities'} best?",
        config=f"configs/{file}.py:bilstm{size}",
        points=axis("model", {name: {"config": f"configs/{file}.py:{one}{size}"} for name, one in models.items()}),
        seeds=seeds,
        metric="test/f1",
        better="higher",
        also=("test/precision", "test/recall", "validation/f1"),
        over_steps="validation/f1",
        published=PUBLISHED[file],
    )
