"""Tell the sentiment of a sentence: the Stanford Sentiment Treebank, or a folder of the user's own."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.data import labelled
from xlstm_jax.data.labelled_codec import LabelledCodec
from xlstm_jax.tasks.base import TASKS, Ratio
from xlstm_jax.tasks.text_classes import TextClassesTask


@dataclasses.dataclass(frozen=True)
class SentimentConfig(Section, name="data"):
    path: str = ""  # folder with train.jsonl, validation.jsonl and perhaps test.jsonl ("text", "label"); "": SST
    classes: Literal[2, 5] = 2  # of SST: 2 leaves out neutral sentences
    phrases: bool = True  # of SST: train on all labelled phrases, not only on sentences
    lowercase: bool = True  # convert words to lower case
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 64  # sentences in a batch, of similar length
    multiple_of: PositiveInt = 8  # rows are padded to a multiple of it, so that few programs are compiled


class SentimentCodec(LabelledCodec):
    """Words of a sentence to tokens, classes to names."""

    kind = "sentiment"


@TASKS.register("sentiment")
class Sentiment(TextClassesTask):
    """Class of a sentence; cross-entropy, accuracy. The checkpoint with the best validation accuracy is kept.

    Socher et al. 2013: with 2 classes very negative and negative are one, very positive and positive the other, and
    what is neutral is left out. Phrases are for training; sentences are scored.
    """

    Config, Codec = SentimentConfig, SentimentCodec
    unit = "nats per sentence"

    def _names(self) -> Sequence[str]:
        config = self.config
        own = sorted({label for _, label in self._examples["train"]}) if config.path else ()
        return own or labelled.treebank_labels(config.classes)

    @functools.cached_property
    def _examples(self) -> dict[str, list[labelled.Example]]:
        config = self.config
        return (
            labelled.folder(config.path) if config.path else labelled.treebank(config.classes, phrases=config.phrases)
        )

    def _pieces(self, text: str) -> list[str]:
        return labelled.check_words(labelled.split_words(text))

    def summary(self) -> str:
        return self._summary("examples", "words")

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"sentences": float(ratios["loss"].count)}
