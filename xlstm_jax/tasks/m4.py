"""The hourly series of the M4 competition, scored as the competition did."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import INT32, Bounds, PositiveInt, Section
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.series.continuation import draw_continuation
from xlstm_jax.data.series.forecasts import m4
from xlstm_jax.data.series.forecasts.collection import Collection, EvaluationHistories, Histories, TrainHistories
from xlstm_jax.errors import UsageError
from xlstm_jax.models.decomposition import DLinear
from xlstm_jax.models.es_rnn import ESRNN
from xlstm_jax.models.forecasting import ForecastConfig, SeasonalNaive, Sizes
from xlstm_jax.models.stack_forecaster import StackForecaster
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split

LEAST = 0.05  # of an initial seasonal factor
MOST = 1008  # hours of a history: six weeks, more than the longest series


@dataclasses.dataclass(frozen=True)
class M4Config(Section, name="data"):
    context: Annotated[int, Bounds(least=2 * m4.SEASON, most=600)] = 336  # hours that a forecast sees
    batch_size: PositiveInt = 64  # series in a batch, each at a random time


@dataclasses.dataclass(frozen=True)
class M4Model(ForecastConfig, name="model"):
    """A model of all series of the competition."""

    # stack: blocks over patches of the context; es_rnn: the same over what exponential smoothing leaves (Smyl 2020);
    # linear: DLinear; naive: the last day again
    kind: Literal["stack", "es_rnn", "linear", "naive"] = "stack"
    channels: ClassVar[str] = "independent"  # a series has one column


@TASKS.register("m4")
class M4(Task):
    """48 hours of each of 414 series, by one model of all of them.

    The loss is the competition's: (sMAPE / sMAPE of Naive2 + MASE / MASE of Naive2) / 2, with Naive2's scores on the
    test part, 18.383 and 2.395, as constants. Metrics: `smape`, `mase`, `owa`. The last 48 hours of the training part
    are for validation.
    """

    Config, Model = M4Config, M4Model
    unit = "relative to Naive2"
    held_out = ("test",)
    best = ("owa", "lower")

    def __init__(self, config: M4Config, codec: Numbers | None = None):
        self.config = config
        self.codec = codec or Numbers(1)
        if codec is None:
            self._collection  # noqa: B018  files that cannot be had show before anything is built

    @functools.cached_property
    def _collection(self) -> Collection:
        """All series with their test parts; errors are scaled as the competition did, by the training parts."""
        _, train, test_SH = m4.read()
        whole = [np.concatenate(parts) for parts in zip(train, test_SH, strict=True)]
        scale_S = np.array([m4.seasonal_scale(series) for series in train])
        return Collection(whole, scale_S, most=MOST, horizon=m4.HORIZON)

    @functools.cached_property
    def _ends_S(self) -> np.ndarray:
        """Hours of each training part."""
        return np.array([len(series) - m4.HORIZON for series in self._collection.series])

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return {"validation": self._ends_S - m4.HORIZON, "test": self._ends_S}

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Numbers:
        return Numbers.from_json(data)

    def fingerprint(self) -> str:
        return hashlib.sha256(b"".join(series.tobytes() for series in self._collection.series)).hexdigest()

    def summary(self) -> str:
        shortest, longest = self._ends_S.min(), self._ends_S.max()
        return f"{len(self._ends_S)} series of {shortest} to {longest} hours, {m4.HORIZON} to forecast"

    @property
    def loss_at_chance(self) -> float:
        """Of the mean of each context, for the validation part."""
        context = [series[present - self.config.context : present] for series, present in self._at("validation")]
        truth_SH = self._truth("validation")
        forecast_SH = np.repeat([[part.mean()] for part in context], m4.HORIZON, axis=1)
        scores = m4.smape(truth_SH, forecast_SH), m4.mase(truth_SH, forecast_SH, self._collection.scale_S)
        return m4.owa(scores[0].mean(), scores[1].mean(), m4.NAIVE2)

    def _at(self, split: str) -> Any:
        return zip(self._collection.series, self.splits[split], strict=True)

    def _truth(self, split: str) -> np.ndarray:
        return np.stack([series[present : present + m4.HORIZON] for series, present in self._at(split)])

    @functools.cache  # noqa: B019  one task lives as long as its run
    def _reference(self, split: str) -> np.ndarray:
        """sMAPE and MASE of Naive2 for each series, [S, 2]."""
        forecast_SH = np.stack([m4.naive2(series[:present]) for series, present in self._at(split)])
        truth_SH = self._truth(split)
        return np.stack(
            [m4.smape(truth_SH, forecast_SH), m4.mase(truth_SH, forecast_SH, self._collection.scale_S)], axis=1
        )

    def build(self, config: M4Model, *, rngs: nnx.Rngs) -> nnx.Module:
        sizes = Sizes(self.config.context, m4.HORIZON, targets=1, read=1, known=0, quantiles=1, season=m4.SEASON)
        if config.kind == "es_rnn":
            past = [series[: self.config.context] for series in self._collection.series]
            days_SX = np.stack([m4.seasonal_indices(series, m4.SEASON) for series in past])
            return ESRNN(config, sizes, np.maximum(days_SX, LEAST), rngs=rngs)
        if config.kind == "naive":
            return SeasonalNaive(config, sizes)
        return {"stack": StackForecaster, "linear": DLinear}[config.kind](config, sizes, rngs=rngs)

    def _forecast(self, model: nnx.Module, batch: Histories, key: jax.Array | None = None) -> jax.Array:
        """[B, H], at least 0, as all series are."""
        if isinstance(model, ESRNN):
            return model(batch.past_BT, batch.start_B, batch.series_B, key)
        outputs_BHCQ = model(batch.past_BT[:, -self.config.context :, None], key=key)
        return jnp.maximum(outputs_BHCQ[..., 0, 0], 0)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        last_S = self._ends_S - 2 * m4.HORIZON
        return dataset(
            TrainHistories(
                self._collection,
                self.config.context,
                last_S,
                batch_size=self.config.batch_size,
                seed=checked_seed(seed),
                part=rows,
            )
        )

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        present_S, reference_SM = self.splits[split], self._reference(split)
        size = self.config.batch_size
        return dataset(EvaluationHistories(self._collection, present_S, reference_SM, batch_size=size, part=rows))

    def forward(self, model: nnx.Module, batch: Histories, carry: Any, key: jax.Array | None) -> Outcome:
        forecast_BH = self._forecast(model, batch, key)
        error_BH = jnp.abs(batch.future_BH - forecast_BH)
        size_BH = jnp.abs(batch.future_BH) + jnp.abs(forecast_BH)
        smape_B = 200 * jnp.mean(error_BH / jnp.where(size_BH > 0, size_BH, 1), axis=1)
        mase_B = jnp.mean(error_BH, axis=1) / batch.scale_B

        def total(values_B: jax.Array) -> Ratio:
            count = jnp.sum(batch.scored_B, dtype=jnp.float32)
            return Ratio(jnp.sum(jnp.where(batch.scored_B, values_B.astype(jnp.float32), 0)), count)

        references = {f"{name}_reference": batch.reference_BM[:, n] for n, name in enumerate(("smape", "mase"))}
        loss_B = (smape_B / m4.NAIVE2[0] + mase_B / m4.NAIVE2[1]) / 2
        ratios = {"smape": total(smape_B), "mase": total(mase_B)}
        ratios |= {name: Ratio(*(part[None] for part in total(values_B))) for name, values_B in references.items()}
        return Outcome(total(loss_B), ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        reference = tuple(float(ratios[f"{name}_reference"].value[0]) for name in ("smape", "mase"))
        return {"owa": m4.owa(float(ratios["smape"].value), float(ratios["mase"].value), reference)}

    def read(self, text: str) -> np.ndarray:
        values = self.codec.encode(text)[:, 0].astype(np.float64)
        if len(values) < self.config.context:
            raise UsageError(f"the input has {len(values)} hours; give at least {self.config.context}")
        return values

    def blank(self, length: int) -> np.ndarray:
        del length
        return np.ones(self.config.context)

    def collate(self, examples: list[np.ndarray]) -> Histories:
        rows = len(examples)
        lengths_B = np.array([len(example) for example in examples])
        batch = Collection(examples, np.ones(rows), most=MOST, horizon=m4.HORIZON).histories(np.arange(rows), lengths_B)
        return batch._replace(series_B=np.full(rows, INT32 - 1, np.int32))

    def predict(self, model: nnx.Module, batch: Histories) -> jax.Array:
        return self._forecast(model, batch)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        return {"forecast": [float(f"{value:.6g}") for value in predicted]}

    def draw(self, axes: Any, answer: dict[str, Any], example: np.ndarray) -> None:
        history_T1, forecast_H1 = example[-7 * m4.SEASON :, None], np.array(answer["forecast"])[:, None]
        draw_continuation(axes, ("series",), history_T1, forecast_H1, unit="hours")
