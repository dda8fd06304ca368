"""Tell the sentiment of a sentence: the Stanford Sentiment Treebank, or a folder of the user's own."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.data import labelled
from xlstm_jax.data.codecs import Labels, Vocabulary, power_of_two
from xlstm_jax.data.sentences import Sentences, batch_of
from xlstm_jax.errors import UsageError, shown
from xlstm_jax.models.classifier import Prior, TextClassifier, TextClassifierConfig
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.examples import ExamplesTask


@dataclasses.dataclass(frozen=True)
class SentimentConfig(Section, name="data"):
    path: str = ""  # folder with train.jsonl, validation.jsonl and perhaps test.jsonl ("text", "label"); "": SST
    classes: Literal[2, 5] = 2  # of SST: 2 leaves out neutral sentences
    phrases: bool = True  # of SST: train on all labelled phrases, not only on sentences
    lowercase: bool = True  # convert words to lower case
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 64  # sentences in a batch, of similar length
    multiple_of: PositiveInt = 8  # rows are padded to a multiple of it, so that few programs are compiled


class SentimentCodec:
    """Words of a sentence to tokens, classes to names."""

    def __init__(self, words: Vocabulary, labels: Labels, lowercase: bool):
        self.words, self.labels, self.lowercase = words, labels, lowercase

    def to_json(self) -> dict[str, Any]:
        parts = {"words": self.words.to_json(), "labels": self.labels.to_json()}
        return {"kind": "sentiment", "lowercase": self.lowercase, **parts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SentimentCodec":
        if not isinstance(data, dict) or data.get("kind") != "sentiment" or type(data.get("lowercase")) is not bool:
            raise UsageError("the codec is damaged; kind 'sentiment' needs words, labels, and lowercase, true or false")
        return cls(Vocabulary.from_json(data.get("words")), Labels.from_json(data.get("labels")), data["lowercase"])

    def encode(self, words: list[str]) -> np.ndarray:
        """[T] tokens, int32."""
        return self.words.encode(word.lower() for word in words) if self.lowercase else self.words.encode(words)

    def decode(self, tokens_T: np.ndarray) -> str:
        return self.words.decode(tokens_T)


@TASKS.register("sentiment")
class Sentiment(ExamplesTask):
    """Class of a sentence; cross-entropy, accuracy. The checkpoint with the best validation accuracy is kept.

    Socher et al. 2013: with 2 classes very negative and negative are one, very positive and positive the other, and
    what is neutral is left out. Phrases are for training; sentences are scored.
    """

    Config, Model = SentimentConfig, TextClassifierConfig
    best = ("accuracy", "higher")
    unit = "nats per sentence"

    def __init__(self, config: SentimentConfig, codec: SentimentCodec | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            self.codec = self._new_codec()
            self.train_batches(seed=0)  # unknown labels, or too few examples, show before anything is built

    def _new_codec(self) -> SentimentCodec:
        config, train = self.config, self._examples["train"]
        names = sorted({label for _, label in train}) if config.path else labelled.treebank_labels(config.classes)
        words = (map(str.lower, words) if config.lowercase else words for words, _ in train)
        return SentimentCodec(Vocabulary.of(words, least=config.least_count), Labels.of(names), config.lowercase)

    @functools.cached_property
    def _examples(self) -> dict[str, list[labelled.Example]]:
        config = self.config
        return (
            labelled.folder(config.path) if config.path else labelled.treebank(config.classes, phrases=config.phrases)
        )

    @functools.cached_property
    def _rows(self) -> dict[str, tuple[list[np.ndarray], np.ndarray]]:
        """Tokens and classes of each split."""
        return {name: (self._tokens(rows), self._labels(name, rows)) for name, rows in self._examples.items()}

    _make = staticmethod(batch_of)

    def _tokens(self, rows: list[labelled.Example]) -> list[np.ndarray]:
        return [self.codec.encode(words) for words, _ in rows]

    def _labels(self, split: str, rows: list[labelled.Example]) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(self.codec.labels.names)}
        if unknown := [label for _, label in rows if label not in numbers]:
            raise UsageError(
                f"label {shown(unknown[0])} of split {split!r} is not one of the training labels: "
                f"{', '.join(numbers)}; correct it"
            )
        return np.array([numbers[label] for _, label in rows], np.int32)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> SentimentCodec:
        return SentimentCodec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.labels))

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(labels):,}" for name, (_, labels) in self._rows.items())
        return f"examples: {sizes}; {len(self.codec.words):,} words; classes {', '.join(self.codec.labels.names)}"

    def build(self, config: TextClassifierConfig, *, rngs: nnx.Rngs) -> TextClassifier | Prior:
        if not config.reads:
            return Prior(len(self.codec.labels))
        sizes = len(self.codec.words), len(self.codec.labels)
        return TextClassifier(config, *sizes, unknown=Vocabulary.UNKNOWN, rngs=rngs)

    def forward(self, model: TextClassifier, batch: Sentences, carry: Any, key: jax.Array | None) -> Outcome:
        logits_BA = model.classify(batch.tokens_BT, batch.lengths_B, key)
        row_B = batch.lengths_B > 0
        nats_B = optax.softmax_cross_entropy_with_integer_labels(logits_BA, batch.label_B)
        right_B = (jnp.argmax(logits_BA, axis=-1) == batch.label_B) & row_B
        count = jnp.sum(row_B, dtype=jnp.float32)
        ratios = {"accuracy": Ratio(jnp.sum(right_B, dtype=jnp.float32), count)}
        return Outcome(Ratio(jnp.sum(jnp.where(row_B, nats_B, 0)), count), ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"sentences": float(ratios["loss"].count)}

    def read(self, text: str) -> np.ndarray:
        return self.codec.encode(labelled.check_words(labelled.split_words(text)))

    def blank(self, length: int) -> np.ndarray:
        return np.zeros(length, np.int32)

    def collate(self, examples: list[np.ndarray]) -> Sentences:
        longest = power_of_two(max(map(len, examples)))
        return batch_of(examples, np.zeros(len(examples), np.int32), longest)

    def predict(self, model: TextClassifier, batch: Sentences) -> jax.Array:
        return model.classify(batch.tokens_BT, batch.lengths_B)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        shares = self.codec.labels.probabilities(predicted)
        return {"label": next(iter(shares)), "probabilities": shares}
