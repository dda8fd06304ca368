"""Tiny Shakespeare, character by character: 2 layers of 256 features, sequences of 100, batch 64, Adam at 1e-3.

    python -m experiments.train --config=configs/char_lm.py:lstm --workdir=/tmp/lstm

Variants: rnn, lstm, gru (two layers of the cell), slstm, mlstm (blocks of that kind alone), xlstm (both kinds); about a
million parameters each, under one recipe, that of xlstm: rnn_1m, lstm_1m, gru_1m, slstm_1m, mlstm_1m, xlstm_7b,
transformer, mamba2, minlstm, mingru, griffin, rwkv6 (`experiments/sweeps/families.py` compares them); bpe (the blocks
of xlstm on byte pairs, 1024 tokens), and `tiny` (seconds on a CPU, for tests). The first 90% of the text is for
training, the rest for validation.
"""

from configs import base
from xlstm_jax.errors import UsageError


def recurrent(config, cell):
    config.model.pattern = "rr"
    config.model.recurrent.cell = cell
    config.model.features = 256
    config.model.final_norm = False
    config.model.embedding_std = 1.0


def slstm(config, _):
    config.model.pattern = "ss"
    config.model.features = 256


def mlstm(config, _):
    config.model.pattern = "mmm"
    config.model.features = 224


def xlstm(config, _):
    config.model.pattern = "msm"
    config.model.features = 224
    recipe(config)


# Pattern and width of about a million parameters.
SIZES = {
    "rnn_1m": ("rr", 484),
    "lstm_1m": ("rr", 244),
    "gru_1m": ("rr", 280),
    "slstm_1m": ("sss", 224),
    "mlstm_1m": ("mmm", 224),
    "xlstm_7b": ("xxx", 160),
    "transformer": ("ttt", 160),
    "mamba2": ("dddd", 188),
    "minlstm": ("nnn", 140),
    "mingru": ("nnn", 148),
    "griffin": ("ggg", 148),
    "rwkv6": ("www", 140),
}


def sized(config, name):
    config.model.pattern, config.model.features = SIZES[name]
    recipe(config)


def sized_recurrent(config, name):
    recurrent(config, name.removesuffix("_1m"))
    sized(config, name)


def baseline(config, name):
    sized(config, name)
    config.model.norm = "layer" if name == "rwkv6" else "rms"
    config.model.xlstm.num_heads = 4
    if name == "xlstm_7b":
        config.model.norm_eps = config.model.xlstm.norm_eps  # one for all norms, as Hugging Face's format has it
    config.model.transformer.context = config.data.sequence_length  # it has not learned positions further back
    config.model.mamba2.head_features = 47
    config.model.mamba2.state_features = 64
    config.model.minimal.cell = "mingru" if name == "mingru" else "minlstm"
    config.model.rwkv6.head_features = 35


def recipe(config):
    config.model.dropout = 0.15
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.02
    config.optimizer.warmup_steps = 20
    config.optimizer.weight_decay = 0.1
    config.train.steps = 1404


def bpe(config, _):
    xlstm(config, _)
    config.data.tokenizer = "bpe"
    config.data.vocab_size = 1024


def tiny(config, _):
    config.model.pattern = "ms"
    config.model.features = 32
    config.data.sequence_length = 32
    config.data.batch_size = 8
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10
    config.sample.length = 20


VARIANTS = {
    "rnn": recurrent,
    "lstm": recurrent,
    "gru": recurrent,
    "slstm": slstm,
    "mlstm": mlstm,
    "xlstm": xlstm,
    **dict.fromkeys(SIZES, baseline),
    **dict.fromkeys(("rnn_1m", "lstm_1m", "gru_1m"), sized_recurrent),
    **dict.fromkeys(("slstm_1m", "mlstm_1m"), sized),
    "bpe": bpe,
    "tiny": tiny,
}


def get_config(variant: str = "lstm"):
    if variant not in VARIANTS:
        raise UsageError(f"variant {variant!r} is unknown; allowed: {', '.join(VARIANTS)}")
    config = base.get_config()
    config.data.source = "tinyshakespeare"
    config.data.tokenizer = "char"
    config.train.steps = 1872  # 12 passes over the text
    config.train.eval_every = 156  # one pass
    VARIANTS[variant](config, variant)
    return config
