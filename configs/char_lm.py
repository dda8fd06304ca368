"""Tiny Shakespeare, character by character: 2 layers of 256 features, sequences of 100, batch size 64, Adam at 1e-3.

    python -m experiments.train --config=configs/char_lm.py:lstm --workdir=/tmp/lstm

Variants: rnn, lstm, gru (two layers of the cell); slstm, mlstm (blocks of one kind); xlstm (both kinds). Variants with
about a million parameters and the recipe of xlstm, compared in `experiments/sweeps/families.py`: rnn_1m, lstm_1m,
gru_1m, slstm_1m, mlstm_1m, xlstm_7b, transformer, mamba2, minlstm, mingru, griffin, rwkv6. Others: bpe (the blocks of
xlstm on byte pairs, 1024 tokens) and `tiny` (takes seconds on a CPU, for tests). The first 90% of the text is the
training split, the rest validation.
"""

import functools

from ml_collections import ConfigDict

from configs import base
from configs._families import FAMILIES, MILLION, use
from configs._variants import compose, few_steps


def two_layers(config: ConfigDict, cell: str) -> None:
    use(config, cell, 2)
    config.model.features = 256
    config.model.final_norm = False
    config.model.embedding_std = 1.0


def slstm(config: ConfigDict) -> None:
    config.model.pattern = "ss"
    config.model.features = 256


def mlstm(config: ConfigDict) -> None:
    config.model.pattern = "mmm"
    config.model.features = 224


def xlstm(config: ConfigDict) -> None:
    config.model.pattern = "msm"
    config.model.features = 224
    recipe(config)


def million(config: ConfigDict, name: str) -> None:
    """About a million parameters, with the recipe of xlstm."""
    blocks, features = MILLION[name]
    if FAMILIES[name].block == "recurrent":
        two_layers(config, name)
    use(config, name, blocks)
    config.model.features = features
    recipe(config)


def baseline(config: ConfigDict, name: str) -> None:
    million(config, name)
    config.model.norm = "layer" if name == "rwkv6" else "rms"
    config.model.xlstm.num_heads = 4
    if name == "xlstm_7b":
        config.model.norm_eps = config.model.xlstm.norm_eps  # one value for all norms, as in Hugging Face's format
    config.model.transformer.window = config.data.sequence_length  # it has not seen longer distances in training
    config.model.mamba2.head_features = 47
    config.model.mamba2.state_features = 64
    config.model.rwkv6.head_features = 35


def recipe(config: ConfigDict) -> None:
    config.model.dropout = 0.15
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.final_scale = 0.02
    config.optimizer.warmup_steps = 20
    config.optimizer.weight_decay = 0.1
    config.train.steps = 1404


def bpe(config: ConfigDict) -> None:
    """Byte pairs, with the xLSTM's blocks unless another model is chosen before."""
    if config.model.pattern == base.get_config().model.pattern:
        xlstm(config)
    config.data.tokenizer = "bpe"
    config.data.vocab_size = 1024


def tiny(config: ConfigDict) -> None:
    config.model.features = 32
    config.data.sequence_length = 32
    config.data.batch_size = 8
    few_steps(config)
    config.sample.length = 20


SMALL = ("rnn", "lstm", "gru", "slstm", "mlstm")  # these have two variants: NAME, and NAME_1m with a million parameters
VARIANTS = {
    **{name: functools.partial(two_layers, cell=name) for name in ("rnn", "lstm", "gru")},
    "slstm": slstm,
    "mlstm": mlstm,
    "xlstm": xlstm,
    **{name: functools.partial(baseline, name=name) for name in MILLION if name not in SMALL},
    **{f"{name}_1m": functools.partial(million, name=name) for name in SMALL},
    "bpe": bpe,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config()
    config.data.source = "tinyshakespeare"
    config.data.tokenizer = "char"
    config.train.steps = 1872  # 12 passes over the text
    config.train.eval_every = 156  # one pass
    return compose(config, variant, VARIANTS, "lstm")
