"""What attention brings to translation: kinds of attention and blocks on Multi30k, German to English.

    python -m experiments.sweep --sweep=experiments/sweeps/translation.py --workdir=/tmp/translations --num_workers=2
    python -m experiments.report --workdir=/tmp/translations

Without a variant, 2,000 steps for an LSTM with and without attention and for an xLSTM, with one seed; `:models` has
each kind of attention and more blocks. `:full` trains the default model in both directions for as long as its config
says, with three seeds. `:tiny` (20 steps) takes minutes. The test part (test_2016_flickr) is scored once, by the
checkpoint with the best validation BLEU.
"""

from experiments.sweeping.base import Sweep, axis

MODELS = {
    "LSTM, general": "lstm",
    "LSTM, dot": "lstm,dot",
    "LSTM, concat": "lstm,concat",
    "LSTM, Bahdanau": "lstm,bahdanau",
    "LSTM, input feeding": "lstm,feeding",
    "LSTM, no attention": "lstm,none",
    "2 LSTMs, reversed source, no attention": "sutskever",
    "GRU, general": "gru",
    "xLSTM (ms), general": "xlstm",
    "Transformer, general": "transformer",
}
FEW = {name: MODELS[name] for name in ("LSTM, general", "LSTM, no attention", "xLSTM (ms), general")}
FULL = {"German to English": "lstm", "English to German": "lstm,en_de"}
SHORT = {"train.steps": 2_000, "train.eval_every": 500}
# models, the config's variant, changes, seeds
VARIANTS = {
    "": (FEW, "", SHORT, (0,)),
    "models": (MODELS, "", SHORT, (0,)),
    "full": (FULL, "", {}, (0, 1, 2)),
    "tiny": ({"LSTM, general": "lstm", "LSTM, no attention": "lstm,none"}, ",tiny", {}, (0,)),
}
PUBLISHED = (
    "the tutorials of bentrevett/pytorch-seq2seq, tokenised their own way: an LSTM without attention has a perplexity "
    "of about 52 (13.9M parameters), a GRU with attention about 24 and BLEU 28.1 (20.5M)"
)


def get_sweep(variant: str = "") -> Sweep:
    models, size, changes, seeds = VARIANTS[variant]
    what = "direction" if models is FULL else "model"
    return Sweep(
        question="What does attention bring to translation?",
        config=f"configs/translation.py:lstm{size}",
        points=axis(what, {name: {"config": f"configs/translation.py:{one}{size}"} for name, one in models.items()}),
        changes=changes,
        seeds=seeds,
        metric="test/bleu",
        better="higher",
        also=("test/perplexity", "test/token_accuracy", "validation/bleu"),
        over_steps="validation/bleu",
        published=PUBLISHED,
    )
