"""The base of tasks that tell the class of a text."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.data.codecs import Labels, Vocabulary, power_of_two
from xlstm_jax.data.labelled import Example, Unit
from xlstm_jax.data.labelled_codec import LabelledCodec
from xlstm_jax.data.sentences import batch_of
from xlstm_jax.models.classifier import Prior, TextClassifier, TextClassifierConfig
from xlstm_jax.models.naive_bayes import NaiveBayes
from xlstm_jax.tasks.base import Outcome, Ratio
from xlstm_jax.tasks.examples import Examples, ExamplesTask

Model = TextClassifier | NaiveBayes | Prior
MOST_NAMED = 12  # classes that a summary names


class TextClassesTask(ExamplesTask):
    """Class of a text; cross-entropy, accuracy. The checkpoint with the best validation accuracy is kept.

    A subclass defines `Codec`, `_examples`, `_names` and `_pieces`. Its config has `lowercase` and `least_count`.
    """

    Model = TextClassifierConfig
    Codec: ClassVar[type[LabelledCodec]]
    best = ("accuracy", "higher")
    codec: LabelledCodec
    _unit: Unit = "words"

    def __init__(self, config: Any, codec: LabelledCodec | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            self.codec = self._new_codec()
            self.train_batches(seed=0)  # unknown labels, or too few examples, show before anything is built

    def _new_codec(self) -> LabelledCodec:
        texts, labels = (pieces for pieces, _ in self._examples["train"]), Labels.of(self._names())
        return self.Codec.of(texts, labels, self.config.lowercase, self._unit, least=self.config.least_count)

    @functools.cached_property
    def _examples(self) -> dict[str, list[Example]]:
        """Pieces and label of each text of each part, "train" among them."""
        raise NotImplementedError

    def _names(self) -> Sequence[str]:
        """The classes, in the order of the model's outputs."""
        raise NotImplementedError

    def _pieces(self, text: str) -> list[str]:
        """The words or characters of a user's text; `UsageError` if there are none."""
        raise NotImplementedError

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Rows and classes of each part."""
        rows = {}
        for name, part in self._examples.items():
            label_N = self.codec.numbers(name, [label for _, label in part])
            texts = [pieces for pieces, _ in part]
            own = label_N.tolist() if name == "train" else [None] * len(texts)
            rows[name] = list(map(self._row, texts, own)), label_N
        return rows

    def _row(self, pieces: Sequence[str], label: int | None = None) -> np.ndarray:
        """What `_make` makes a batch of; `label` is the class of a training text."""
        del label
        return self.codec.encode(pieces)

    @property
    def _make(self) -> Callable[..., Any]:
        return batch_of

    def _inputs(self, model: Model, batch: Any) -> Any:
        """What the model reads of a batch."""
        del model
        return batch.tokens_BT

    @property
    def _beside(self) -> dict[str, Any]:
        """Options of the model for what it reads beside the tokens."""
        return {}

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> LabelledCodec:
        return cls.Codec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.labels))

    def _summary(self, things: str, pieces: str) -> str:
        sizes, names = ", ".join(f"{name} {len(y):,}" for name, (_, y) in self._rows.items()), self.codec.labels.names
        classes = f"classes {', '.join(names)}" if len(names) <= MOST_NAMED else f"{len(names)} classes"
        return f"{things}: {sizes}; {len(self.codec.words):,} {pieces}; {classes}"

    def build(self, config: TextClassifierConfig, *, rngs: nnx.Rngs) -> Model:
        sizes = len(self.codec.words), len(self.codec.labels)
        if config.kind == "majority":
            return Prior(len(self.codec.labels))
        if config.kind == "naive_bayes":
            return NaiveBayes(*sizes)
        return TextClassifier(config, *sizes, unknown=Vocabulary.UNKNOWN, **self._beside, rngs=rngs)

    def forward(self, model: Model, batch: Any, carry: Any, key: jax.Array | None) -> Outcome:
        logits_BA = model.classify(self._inputs(model, batch), batch.lengths_B, key)
        row_B = batch.lengths_B > 0
        nats_B = optax.softmax_cross_entropy_with_integer_labels(logits_BA, batch.label_B)
        nats_B, count = jnp.where(row_B, nats_B, 0), jnp.sum(row_B, dtype=jnp.float32)
        if key is not None and isinstance(model, NaiveBayes):
            texts = batch.tokens_BT, batch.label_B, batch.lengths_B
            nats_B = model.learned(nats_B, *texts, rows=self.config.batch_size)
        right_B = (jnp.argmax(logits_BA, axis=-1) == batch.label_B) & row_B
        ratios = {"accuracy": Ratio(jnp.sum(right_B, dtype=jnp.float32), count)}
        return Outcome(Ratio(jnp.sum(nats_B), count), ratios, carry)

    def read(self, text: str) -> np.ndarray:
        return self._row(self._pieces(text))

    def blank(self, length: int) -> np.ndarray:
        return self._row(["a"] * length)

    def collate(self, examples: list[np.ndarray]) -> Any:
        longest = power_of_two(max(map(len, examples)))
        return self._make(examples, np.zeros(len(examples), np.int32), longest)

    def predict(self, model: Model, batch: Any) -> jax.Array:
        return model.classify(self._inputs(model, batch), batch.lengths_B)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        shares = self.codec.labels.probabilities(predicted)
        return {"label": next(iter(shares)), "probabilities": shares}
