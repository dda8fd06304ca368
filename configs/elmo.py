"""ELMo: a language model that reads sentences from both sides, whose states other models read as features of words.

    python -m experiments.train --config=configs/elmo.py:lstm --workdir=/tmp/elmo

An epoch of the Brown corpus, about half an hour of one CPU core.

Then a tagger or a classifier that reads them, with the language model as it is:

    python -m experiments.train --config=configs/chunking.py:bilstm --workdir=/tmp/chunks --config.data.bilm=/tmp/elmo

Variants: lstm, gru, minlstm, xlstm, transformer; `no_letters` leaves out the LSTM over letters; `tiny` takes seconds,
for tests. `--config.data.path=FILE_OR_FOLDER` reads your own text, with a sentence in each line, instead of the Brown
corpus.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base
from configs._families import stack_of, xlstm
from configs._tagging import no_letters
from configs._variants import compose, few_steps


def recurrent(cell: str) -> Callable[[ConfigDict], None]:
    """Two layers, with the input of the second added to its output."""

    def change(config: ConfigDict) -> None:
        stack_of(cell)(config)
        config.model.recurrent.residual = True

    return change


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.data.multiple_of = 32
    config.data.validation = 0.3
    config.model.features = 16
    config.model.letter_features = 8
    few_steps(config)


VARIANTS: dict[str, Callable[[ConfigDict], None]] = {
    "lstm": recurrent("lstm"),
    "gru": recurrent("gru"),
    "minlstm": stack_of("minlstm"),
    "xlstm": xlstm,
    "transformer": stack_of("transformer"),
    "no_letters": no_letters,
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("bilm")
    config.data.least_count = 20  # a vocabulary of 4,700 words; one of 13,000 takes twice the time
    config.model.features = 256
    config.model.letter_features = 32
    config.model.dropout = 0.1
    config.model.head_dropout = 0.1
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.train.steps = 1_700  # an epoch of the Brown corpus is 1,688
    config.train.eval_every = 425
    config.train.log_every = 25
    return compose(config, variant, VARIANTS, "lstm")
