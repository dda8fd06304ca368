"""Tell the sentiment of a sentence: the Stanford Sentiment Treebank, or a folder of the user's own."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.data import labelled, sentences
from xlstm_jax.data.labelled_codec import LabelledCodec
from xlstm_jax.data.words import LentReader
from xlstm_jax.models.bilm import Enriched
from xlstm_jax.models.classifier import TextClassifierConfig
from xlstm_jax.tasks import reader
from xlstm_jax.tasks.base import TASKS, Loan, Ratio
from xlstm_jax.tasks.text_classes import Model, TextClassesTask


@dataclasses.dataclass(frozen=True)
class SentimentConfig(Section, name="data"):
    path: str = ""  # folder with train.jsonl, validation.jsonl and perhaps test.jsonl ("text", "label"); "": SST
    classes: Literal[2, 5] = 2  # of SST: 2 leaves out neutral sentences
    phrases: bool = True  # of SST: train on all labelled phrases, not only on sentences
    lowercase: bool = True  # convert words to lower case
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 64  # sentences in a batch, of similar length
    multiple_of: PositiveInt = 8  # rows are padded to a multiple of it, so that few programs are compiled
    bilm: str = ""  # workdir of a run of configs/elmo.py, whose states the model reads too; "": none


class SentimentCodec(LabelledCodec):
    """Words of a sentence to tokens, classes to names."""

    kind = "sentiment"
    lent: LentReader | None = None  # a biLM whose states the model reads too

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | ({"bilm": self.lent.to_json()} if self.lent else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        codec = super().from_json(data)
        codec.lent = LentReader.from_json(data.get("bilm"))
        return codec


@TASKS.register("sentiment")
class Sentiment(TextClassesTask):
    """Class of a sentence; cross-entropy, accuracy. The checkpoint with the best validation accuracy is kept.

    Socher et al. 2013: with 2 classes very negative and negative are one, very positive and positive the other, and
    what is neutral is left out. Phrases are for training; sentences are scored.
    """

    Config, Codec = SentimentConfig, SentimentCodec
    unit = "nats per sentence"
    codec: SentimentCodec

    def __init__(
        self, config: SentimentConfig, codec: SentimentCodec | None = None, lender: tuple[Any, Any] | None = None
    ):
        self._lender = lender
        super().__init__(config, codec)

    def _new_codec(self) -> SentimentCodec:
        codec = super()._new_codec()
        codec.lent = self._lender and LentReader(*self._lender)
        return codec

    @classmethod
    def borrowed(cls, config: SentimentConfig) -> Loan | None:
        return reader.loan(config.bilm)

    def build(self, config: TextClassifierConfig, *, rngs: nnx.Rngs) -> Model:
        if config.kind != "stack":
            reader.check_none(self.codec.lent, config.kind)
        return super().build(config, rngs=rngs)

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

    def _row(self, pieces: Sequence[str], label: int | None = None) -> np.ndarray:
        tokens_T, lent = super()._row(pieces, label), self.codec.lent
        return tokens_T if lent is None else np.column_stack([tokens_T, lent.lexicon.encode(pieces)])

    @property
    def _make(self) -> Callable[..., Any]:
        return sentences.batch_of if self.codec.lent is None else sentences.batch_with_bilm

    def _inputs(self, model: Model, batch: sentences.Sentences) -> Any:
        tokens_BT = super()._inputs(model, batch)
        return tokens_BT if batch.bilm_BTW is None else Enriched(tokens_BT, batch.bilm_BTW)

    @property
    def _beside(self) -> dict[str, Any]:
        return {"reader": reader.maker(self.codec.lent)}

    def summary(self) -> str:
        return self._summary("examples", "words")

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"sentences": float(ratios["loss"].count)}
