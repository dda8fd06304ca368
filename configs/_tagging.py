"""What the configs of tagging have in common."""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import few_steps


def words(config: ConfigDict) -> None:
    config.model.kind = "words"
    config.optimizer.learning_rate = 3e-2
    config.optimizer.weight_decay = 0.0


def softmax(config: ConfigDict) -> None:
    config.model.output = "softmax"


def no_letters(config: ConfigDict) -> None:
    config.model.letter_features = 0


def tiny(config: ConfigDict) -> None:
    config.data.name = "wnut17"
    config.data.batch_size = 8
    config.data.multiple_of = 32
    config.model.features = 16
    config.model.letter_features = 8
    few_steps(config)


VARIANTS: dict[str, Callable[[ConfigDict], None]] = {
    "lstm": stack_of("lstm", 1, "forward"),
    "bilstm": stack_of("lstm", 1),
    "gru": stack_of("gru", 1),
    "xlstm": alternating_xlstm,
    "transformer": stack_of("transformer", directions="alternate"),
    "words": words,
    "softmax": softmax,
    "no_letters": no_letters,
    "tiny": tiny,
}


def defaults(data: str) -> ConfigDict:
    config = base.get_config("tagging")
    config.data.name = data
    config.model.features = 192
    config.model.final_norm = False
    config.model.embedding_std = 1.0
    config.model.dropout = 0.4
    config.model.head_dropout = 0.4
    config.model.token_dropout = 0.05
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.05
    config.train.log_every = 50
    return config
