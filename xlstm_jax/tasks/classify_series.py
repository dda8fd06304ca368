"""Classify whole series: sequential MNIST, MNIST-1D, splice sites, two sets of the UEA archive, or one's own."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section, listed
from xlstm_jax.data.batches import generator
from xlstm_jax.data.codecs import padded, power_of_two
from xlstm_jax.data.series.classes import labelled, mnist, mnist1d, own, splice, ts_file
from xlstm_jax.data.series.classes.codec import LabelledCodec, draw
from xlstm_jax.errors import UsageError
from xlstm_jax.models.classifier import Prior
from xlstm_jax.models.series_classifier import LogisticRegression, SeriesClassifier, SeriesClassifierConfig
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.examples import ExamplesTask

READERS = {
    "mnist": mnist.read,
    "mnist1d": mnist1d.read,
    "splice": splice.read,
    **{name: functools.partial(ts_file.read, name) for name in ts_file.SETS},
}


@dataclasses.dataclass(frozen=True)
class ClassifySeriesConfig(Section, name="data"):
    name: Literal["mnist", "mnist1d", "splice", "japanese_vowels", "basic_motions"] = "mnist1d"  # a published data set
    path: str = ""  # instead: a file (.csv, .tsv, .ts), or a folder with train.csv and perhaps validation.csv, test.csv
    label: str = "label"  # of a CSV file: the column of classes
    series: str = ""  # of a CSV file with a row per time step: the column that names the series; "": a row per series
    sequence: str = ""  # of a CSV file: the column of nucleotides, such as ACGT; "": none
    channels: str = ""  # with data.series: columns to read, with commas between them; "": all others
    stacked: PositiveInt = 1  # consecutive steps that the model reads as one, which has all their channels
    permuted: bool = False  # read the steps in one random order, the same for all series
    validation: Rate = 0.1  # share of each class that is cut from the training part where there is no validation part
    test: Rate = 0.1  # likewise for testing
    batch_size: PositiveInt = 64  # series in a batch, of similar length
    multiple_of: PositiveInt = 8  # series of different lengths are padded to a multiple of it


class Batch(NamedTuple):
    """Labelled series."""

    series_BTC: np.ndarray  # float32, standardised, 0 in the padding
    label_B: np.ndarray  # int32
    lengths_B: np.ndarray  # int32, 0 in padding rows


@TASKS.register("classify_series")
class ClassifySeries(ExamplesTask):
    """Class of a series; cross-entropy. The checkpoint with the best validation accuracy is kept.

    Metrics: `accuracy`; `f1`, the mean over classes of 2 tp / (2 tp + fp + fn); `series`, their number.
    """

    Config, Model = ClassifySeriesConfig, SeriesClassifierConfig
    best = ("accuracy", "higher")
    unit = "nats per series"
    held_out = ("test",)

    def __init__(self, config: ClassifySeriesConfig, codec: LabelledCodec | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            self.codec = LabelledCodec.of(self._data)
            self._order_T  # noqa: B018  options that do not fit show before anything is built
            self._rows  # noqa: B018  as do unknown classes
            self.train_batches(seed=0)

    @functools.cached_property
    def _data(self) -> labelled.LabelledSeries:
        config = self.config
        if config.path:
            columns = own.Columns(config.label, config.series, config.sequence, listed(config.channels))
            data = own.read(config.path, columns)
        else:
            data = READERS[config.name]()
        parts = data.parts
        for name in ("test", "validation"):
            if name not in parts:
                parts = labelled.with_cut(parts, name, getattr(config, name))
        return data._replace(parts=parts)

    @functools.cached_property
    def _order_T(self) -> np.ndarray | None:
        """The order in which steps are read, the same in every run."""
        if not self.config.permuted:
            return None
        if not self.codec.steps:
            raise UsageError("data.permuted=True is for series of one length, and these have different ones; leave it")
        return generator(0, 1).permutation(self.codec.steps)

    @functools.cached_property
    def _rows(self) -> dict[str, tuple[Any, np.ndarray]]:
        """Series and numbers of their classes, of each part."""
        rows = {}
        for name, part in self._data.parts.items():
            series, order_T = part.series, self._order_T
            if order_T is not None:
                series = series[:, order_T] if isinstance(series, np.ndarray) else [one[order_T] for one in series]
            rows[name] = series, self.codec.numbers(name, part.labels)
        return rows

    @functools.cached_property
    def splits(self) -> dict[str, Any]:
        return {name: self._rows[name] for name in ("validation", "test")}

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> LabelledCodec:
        return LabelledCodec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.labels))

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(labels):,}" for name, (_, labels) in self._rows.items())
        steps = self.codec.steps or "different numbers of"
        names = self.codec.labels.names
        classes = f"classes {', '.join(names)}" if len(names) <= 12 else f"{len(names)} classes"
        return f"series: {sizes}; {steps} steps, channels: {len(self.codec.scaling)}; {classes}"

    def build(self, config: SeriesClassifierConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        channels, classes = self.config.stacked * len(self.codec.scaling), len(self.codec.labels)
        steps = -(-self.codec.steps // self.config.stacked)
        if config.kind == "majority":
            return Prior(classes)
        if config.kind == "linear":
            return LogisticRegression(steps, channels, classes, rngs=rngs)
        return SeriesClassifier(config, channels, classes, steps, rngs=rngs)

    @property
    def _multiple(self) -> int:
        return 1 if self.codec.steps else self.config.multiple_of

    def _make(self, series: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Batch:
        values_BTC, lengths_B = padded(series, multiple_of=multiple_of)
        inside_BT1 = (np.arange(values_BTC.shape[1]) < lengths_B[:, None])[..., None]
        series_BTC = np.where(inside_BT1, self.codec.scaling.standardized(values_BTC), np.float32(0))
        return Batch(series_BTC, labels.astype(np.int32), lengths_B)

    def _logits(self, model: nnx.Module, batch: Batch, key: jax.Array | None = None) -> jax.Array:
        """[B, A]. Series of one length need no masks."""
        steps, series_BTC = self.codec.steps, jnp.asarray(batch.series_BTC)
        if not steps:
            lengths_B = -(-jnp.asarray(batch.lengths_B) // self.config.stacked)
            return model.classify(self._stacked(series_BTC), lengths_B, key)
        missing = max(0, steps - series_BTC.shape[1])
        series_BTC = jnp.pad(series_BTC, ((0, 0), (0, missing), (0, 0)))[:, :steps]
        return model.classify(self._stacked(series_BTC), None, key)

    def _stacked(self, series_BTC: jax.Array) -> jax.Array:
        """[B, T / N, N * C], N steps in one, where zeros fill the last."""
        (rows, steps, channels), number = series_BTC.shape, self.config.stacked
        series_BTC = jnp.pad(series_BTC, ((0, 0), (0, -steps % number), (0, 0)))
        return series_BTC.reshape(rows, -1, number * channels)

    def forward(self, model: nnx.Module, batch: Batch, carry: Any, key: jax.Array | None) -> Outcome:
        logits_BA = self._logits(model, batch, key)
        row_B, classes = batch.lengths_B > 0, logits_BA.shape[1]
        nats_B = optax.softmax_cross_entropy_with_integer_labels(logits_BA, batch.label_B)
        best_B = jnp.argmax(logits_BA, axis=-1)
        count = jnp.sum(row_B, dtype=jnp.float32)

        def of_class(class_B: jax.Array, kept_B: jax.Array) -> jax.Array:
            return jnp.sum(jax.nn.one_hot(class_B, classes) * kept_B[:, None].astype(jnp.float32), axis=0)

        right_A = of_class(batch.label_B, row_B & (best_B == batch.label_B))
        sizes_A = of_class(batch.label_B, row_B) + of_class(best_B, row_B)
        # A ratio by class: its sums make the F1 of each.
        ratios = {"accuracy": Ratio(jnp.sum(right_A), count), "f1_A": Ratio(2 * right_A, sizes_A)}
        return Outcome(Ratio(jnp.sum(jnp.where(row_B, nats_B, 0)), count), ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        """A class that is neither there nor predicted counts as 0, as in scikit-learn."""
        f1_A = np.asarray(ratios["f1_A"].total) / np.maximum(ratios["f1_A"].count, 1)
        return {"f1": float(np.mean(f1_A)), "series": float(ratios["loss"].count)}

    def read(self, text: str) -> np.ndarray:
        series_TC = self.codec.encode(text)
        return series_TC if self._order_T is None else series_TC[self._order_T]

    def blank(self, length: int) -> np.ndarray:
        return np.zeros((length, len(self.codec.scaling)))

    def collate(self, examples: list[np.ndarray]) -> Batch:
        longest = power_of_two(max(map(len, examples)))
        return self._make(examples, np.zeros(len(examples), np.int32), longest)

    def predict(self, model: nnx.Module, batch: Batch) -> jax.Array:
        return self._logits(model, batch)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        shares = self.codec.labels.probabilities(predicted)
        return {"label": next(iter(shares)), "probabilities": shares}

    def draw(self, axes: Any, answer: dict[str, Any], example: np.ndarray) -> None:
        """The series as it was given, and the class."""
        values_TC = example if self._order_T is None else example[np.argsort(self._order_T)]
        image = self.config.name == "mnist" and not self.config.path
        draw(axes, values_TC, self.codec.scaling.names, answer, side=mnist.SIDE if image else 0)
