"""Chunks of sentences (CoNLL-2000): noun phrases, verb phrases and nine more types.

    python -m experiments.train --config=configs/chunking.py:bilstm --workdir=/tmp/chunks

Variants: lstm, bilstm, gru, xlstm, transformer, words (a baseline that looks at each word alone); with any of them,
`softmax` leaves out the CRF and `no_letters` the LSTM over letters, as in `bilstm,softmax`; `tiny` takes seconds, for
tests. `--config.data.path=FOLDER` reads your own data: train.conll and perhaps validation.conll, test.conll, with a
word and its tag in each line.
"""

from ml_collections import ConfigDict

from configs._tagging import VARIANTS, defaults
from configs._variants import compose


def get_config(variant: str = "") -> ConfigDict:
    config = defaults("conll2000")
    config.train.steps = 4_000
    config.train.eval_every = 500
    return compose(config, variant, VARIANTS, "bilstm")
