"""Tell the class of a text: the polarity of film reviews (MR), or the user's own texts, by words or characters."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data import evidence, labelled_files, polarity, sentences
from xlstm_jax.data.evidence import Evidence
from xlstm_jax.data.labelled import Example, Unit, pieces
from xlstm_jax.data.labelled_codec import LabelledCodec
from xlstm_jax.data.parts import PARTS, class_names, cut_by_class, fold_of
from xlstm_jax.errors import UsageError
from xlstm_jax.models.classifier import TextClassifier
from xlstm_jax.models.inputs import TokensAndFeatures
from xlstm_jax.tasks.base import TASKS, Ratio
from xlstm_jax.tasks.text_classes import TextClassesTask

FOLDS = 10  # in which MR is published
Parts = dict[str, list[labelled_files.Labelled]]


@dataclasses.dataclass(frozen=True)
class ClassificationConfig(Section, name="data"):
    # The user's texts: a CSV file or JSON lines with "text" and "label", a folder with train.csv or train.jsonl and
    # perhaps the same of validation and test, or a folder with NAME.txt or NAME/*.txt for each class; "": MR.
    path: str = ""
    fold: Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] = 0  # of MR: the tenth of all sentences that is the test split
    unit: Unit = "words"  # of the tokens
    # Also read what each word or character, and each pair of them, says on the class, by counts in the training texts.
    evidence: bool = False
    lowercase: bool = True  # convert texts to lower case
    least_count: PositiveInt = 1  # words or characters that occur less often in the training data are unknown
    longest: PositiveInt = 256  # words or characters of a text that are read, from its start
    validation: Rate = 0.1  # share of each class that is cut from the user's training texts, if they have no such part
    test: Rate = 0.1  # likewise for testing, if the user's texts have one part only
    batch_size: PositiveInt = 64  # texts in a batch, of similar length
    multiple_of: PositiveInt = 16  # rows are padded to a multiple of it, so that few programs are compiled


class ClassificationCodec(LabelledCodec):
    """Words or characters of a text to tokens and perhaps to weights of evidence, classes to names."""

    kind = "classification"
    evidence: Evidence | None = None

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | ({"evidence": self.evidence.to_json()} if self.evidence else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        codec = super().from_json(data)
        if "evidence" in data:
            codec.evidence = Evidence.from_json(data["evidence"], len(codec.words), len(codec.labels))
        return codec


@TASKS.register("classification")
class Classification(TextClassesTask):
    """Class of a text; cross-entropy, accuracy. The checkpoint with the best validation accuracy is kept.

    MR is scored by a cross-validation: the test split of `data.fold` is a tenth of all sentences, the validation split
    a tenth of the others.
    """

    Config, Codec = ClassificationConfig, ClassificationCodec
    unit = "nats per text"

    def _names(self) -> Sequence[str]:
        return class_names([label for _, label in self._examples["train"]])

    @functools.cached_property
    def _examples(self) -> dict[str, list[Example]]:
        parts = self._own() if self.config.path else self._polarity()
        return {name: [(self._pieces(text), label) for text, label in part] for name, part in parts.items()}

    def _polarity(self) -> Parts:
        rows = polarity.sentences()
        numbers = [tuple(polarity.NAMES).index(label) for _, label in rows]
        folds = fold_of(np.array(numbers), self.config.fold, FOLDS)
        return {name: [rows[n] for n in part] for name, part in folds.items()}

    def _own(self) -> Parts:
        parts = labelled_files.read(self.config.path)
        wanted = ("test", "validation") if len(parts) == 1 else ("validation",)
        for name in (name for name in wanted if name not in parts):
            train = parts["train"]
            taken_N = cut_by_class([label for _, label in train], name, getattr(self.config, name), "texts")
            for part, keep in ((name, True), ("train", False)):
                parts[part] = [row for row, taken in zip(train, taken_N, strict=True) if taken == keep]
        return {name: parts[name] for name in PARTS if name in parts}

    def _pieces(self, text: str) -> list[str]:
        found = pieces(text, self._unit)
        if not found:
            raise UsageError("the input is empty; give a text")
        return found[: self.config.longest]

    @property
    def _unit(self) -> Unit:
        return self.config.unit

    def _new_codec(self) -> ClassificationCodec:
        codec, train = super()._new_codec(), self._examples["train"]
        if self.config.evidence:
            label_N = codec.numbers("train", [label for _, label in train])
            texts = [codec.encode(found) for found, _ in train]
            codec.evidence = Evidence.of(texts, label_N, len(codec.words), len(codec.labels))
        return codec

    def _row(self, pieces: Sequence[str], label: int | None = None) -> np.ndarray:
        tokens_T, known = self.codec.encode(pieces), self.codec.evidence
        return tokens_T if known is None else known.row_of(tokens_T, label)

    @property
    def _make(self) -> Callable[..., Any]:
        return sentences.batch_of if self.codec.evidence is None else evidence.batch_of

    def _inputs(self, model: Any, batch: Any) -> Any:
        if self.codec.evidence is None or not isinstance(model, TextClassifier):
            return batch.tokens_BT
        return TokensAndFeatures(batch.tokens_BT, batch.evidence_BTF)

    @property
    def _beside(self) -> dict[str, Any]:
        return {} if self.codec.evidence is None else {"numbers": 2 * len(self.codec.labels)}

    def summary(self) -> str:
        return self._summary("texts", self.config.unit)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"texts": float(ratios["loss"].count)}
