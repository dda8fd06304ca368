"""Answer questions about strings of formal languages, trained on short ones and tested on longer ones too."""

import dataclasses

import numpy as np

from xlstm_jax.config import PositiveInt
from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.formal_languages import LANGUAGES, Examples
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask


@dataclasses.dataclass(frozen=True)
class FormalLanguageConfig(ProblemConfig):
    language: str = "parity"  # a name in LANGUAGES
    shortest: PositiveInt = 3  # steps of the shortest training rows, raised to what the language needs


@TASKS.register("formal_language")
class FormalLanguage(ProblemTask):
    """Training rows of `shortest` to `sequence_length` steps, split "long" of `sequence_length` to `long_length`.

    Scaled accuracy, as the xLSTM paper has it: 0 is what guessing among the language's answers gives, 1 is perfect.
    """

    Config = FormalLanguageConfig

    def __init__(self, config: FormalLanguageConfig, codec=None):
        if config.language not in LANGUAGES:
            raise UsageError(f"data.language {config.language!r} is unknown; allowed: {', '.join(LANGUAGES)}")
        self.language = LANGUAGES[config.language]
        super().__init__(config, codec)

    @property
    def outputs(self) -> int:
        return self.language.vocab_size

    @property
    def choices(self) -> float:
        return self.language.choices

    def make_codec(self) -> Symbols:
        return Symbols(self.language.names or map(str, range(self.outputs)))

    def answer_length(self, prompt: np.ndarray) -> int:
        return 1 if self.language.answer_length is None else self.language.answer_length(prompt)

    @property
    def long_answers(self) -> bool:
        return self.language.answer_length is not None

    def problem(self, split: str, length: int) -> Examples:
        config = self.config
        shortest = max(config.sequence_length if split == "long" else config.shortest, self.language.shortest)
        if shortest > length:
            name, before = ("long_length", "sequence_length") if split == "long" else ("sequence_length", "shortest")
            raise UsageError(
                f"data.{name} {length} is under {shortest}, the steps of the shortest row (data.{before}, or what "
                f"{config.language!r} needs); raise it"
            )
        return Examples(self.language, shortest, length)
