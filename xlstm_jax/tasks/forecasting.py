"""Forecast series: published ones, or any CSV file."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import NonNegativeInt, PositiveInt, Section, listed
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.series.forecasts import published
from xlstm_jax.data.series.forecasts.columns import Columns, Roles
from xlstm_jax.data.series.forecasts.examples import Example, answer, collated, draw, read_example
from xlstm_jax.data.series.forecasts.windows import (
    EvaluationWindows,
    Series,
    TrainWindows,
    Windows,
    parts,
    split_of,
)
from xlstm_jax.data.series.table import Table, read_csv
from xlstm_jax.errors import UsageError
from xlstm_jax.models.decomposition import DLinear, XLSTMTime
from xlstm_jax.models.forecasting import ForecastConfig, Forecaster, SeasonalNaive, Sizes
from xlstm_jax.models.stack_forecaster import StackForecaster
from xlstm_jax.tasks import window_scores
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split
from xlstm_jax.tasks.forecast_scores import pinball, quantile_levels

SHARES = (0.7, 0.1, 0.2)
MODELS = {"stack": StackForecaster, "xlstm_time": XLSTMTime, "linear": DLinear}


@dataclasses.dataclass(frozen=True)
class ForecastingConfig(Section, name="data"):
    name: str = "ett_h1"  # a published data set: ett_h1, exchange, illness, los_speed, pems or pollution
    path: str = ""  # a CSV file with a header instead, a row per time step
    time: str = ""  # its column of dates, such as 2016-07-01 00:15:00; "": none
    targets: str = ""  # columns to forecast, with commas between them; "": all, or as published
    covariates: str = ""  # further columns, known up to the present
    known: str = ""  # further columns, known ahead as well, such as holidays
    calendar: bool = False  # time of day, of the week and of the year as columns that are known ahead
    missing: Literal["refuse", "forward"] = "refuse"  # forward: read the last value again, and do not score it
    # Rows or shares for training, validation and testing, as "8640,2880,2880"; "": as published, or 0.7,0.1,0.2.
    split: str = ""
    context: PositiveInt = 336  # steps that a forecast sees
    horizon: PositiveInt = 96  # steps that are forecast
    season: NonNegativeInt = 0  # steps of a season, for the seasonal naive forecast; 0: published, or 1
    loss: Literal["mse", "mae", "quantile"] = "mse"  # squared or absolute error, or the pinball loss of the quantiles
    quantiles: str = "0.1,0.5,0.9"  # of the loss "quantile", increasing, with 0.5 in the middle
    batch_size: PositiveInt = 32  # windows in a batch


@TASKS.register("forecasting")
class Forecasting(Task):
    """The horizon of each window from its context. Loss, MSE and MAE are in units of the training part's deviation.

    Metrics: `mse`, `mae`; `rmse`, `mae_units`, in the data's own units. With the loss "quantile" the forecast is the
    median, and there are `wql`, the weighted quantile loss (sum of the loss / sum |y|, in the data's units), and
    `coverage`, the share of values between the outermost quantiles.
    """

    Config, Model = ForecastingConfig, ForecastConfig
    unit = "per value"
    held_out = ("test",)

    def __init__(self, config: ForecastingConfig, codec: Columns | None = None):
        self.config = config
        self.levels_Q = quantile_levels(config.quantiles) if config.loss == "quantile" else np.array([0.5], np.float32)
        self.codec = codec
        if codec is None:
            roles = Roles(*map(listed, (config.targets, config.covariates, config.known)))
            if self._published and not (config.targets or config.covariates or config.known):
                roles = Roles(self._published.targets)
            train = len(self._starts["train"]) + config.context + config.horizon - 1
            self.codec = Columns.of(self._table, roles, train=train, calendar=config.calendar)
            self.train_batches(seed=0)  # what does not fit shows before anything is built

    @functools.cached_property
    def _published(self) -> published.Published | None:
        return None if self.config.path else published.load(self.config.name)

    @functools.cached_property
    def _table(self) -> Table:
        if self._published:
            return self._published.read()
        return read_csv(self.config.path, time=self.config.time)

    @functools.cached_property
    def _series(self) -> Series:
        return self.codec.series(self._table, fill=self.config.missing == "forward")

    @functools.cached_property
    def _starts(self) -> dict[str, np.ndarray]:
        split = self._published.split if self._published else SHARES
        if self.config.split:
            split = split_of(self.config.split)
        return parts(len(self._table.values_NC), split, *self._steps)

    @property
    def splits(self) -> dict[str, np.ndarray]:
        return {name: starts for name, starts in self._starts.items() if name != "train"}

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Columns:
        return Columns.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        """On the validation part, of a model without instance norm."""
        starts = self._starts["validation"]
        values = self._series.windows(starts[:: max(1, len(starts) // 100)], *self._steps).future_BHC
        return float(np.mean(self._cost(np.zeros((*values.shape, len(self.levels_Q)), np.float32), values)))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(sorted((name, len(rows)) for name, rows in self._starts.items())).encode())
        for array in self._series:
            digest.update(b"" if array is None else array.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        roles, sizes = self.codec.roles, ", ".join(f"{name} {len(rows):,}" for name, rows in self._starts.items())
        more = "".join(
            f", {len(names)} {what}" for what, names in roles._asdict().items() if names and what != "targets"
        )
        return f"windows: {sizes}; columns to forecast: {len(roles.targets)}{more}"

    @property
    def _steps(self) -> tuple[int, int]:
        return self.config.context, self.config.horizon

    def build(self, config: ForecastConfig, *, rngs: nnx.Rngs) -> Forecaster:
        roles = self.codec.roles
        season = self.config.season or (self._published.season if self._published else 1)
        sizes = Sizes(
            *self._steps, len(roles.targets), self.codec.read_count, self.codec.known_count, len(self.levels_Q), season
        )
        if config.kind == "naive":
            return SeasonalNaive(config, sizes)
        return MODELS[config.kind](config, sizes, rngs=rngs)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return dataset(TrainWindows(*self._cut("train"), seed=checked_seed(seed), **self._shape(rows)))

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        return dataset(EvaluationWindows(*self._cut(split), **self._shape(rows)))

    def _cut(self, split: str) -> tuple[Series, np.ndarray, int, int]:
        return self._series, self._starts[split], *self._steps

    def _shape(self, rows: slice) -> dict[str, Any]:
        return {"batch_size": self.config.batch_size, "part": rows}

    def _cost(self, outputs_BHCQ: Any, values_BHC: Any) -> Any:
        """The loss of each value, [B, H, C]; over NumPy or jax arrays."""
        if self.config.loss == "quantile":
            return pinball(jnp.asarray(values_BHC), outputs_BHCQ, self.levels_Q)
        error_BHC = values_BHC - outputs_BHCQ[..., 0]
        return error_BHC**2 if self.config.loss == "mse" else abs(error_BHC)

    def forward(self, model: Forecaster, batch: Windows, carry: Any, key: jax.Array | None) -> Outcome:
        # Only in training do recursive heads read what is true instead of their own forecasts.
        given = batch.future_BHC if key is not None else None
        outputs_BHCQ = model(batch.past_BTF, batch.known_BSK, future_BHC=given, key=key)
        cost_BHC = self._cost(outputs_BHCQ, batch.future_BHC)
        scaling, targets = self.codec.scaling, len(self.codec.roles.targets)
        means_C = (scaling.mean_C / scaling.std_C)[:targets] if self.config.loss == "quantile" else None
        return Outcome(*window_scores.score_sums(batch, outputs_BHCQ, cost_BHC, means_C), carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return window_scores.in_units(ratios, self.codec.scaling.std_C[: len(self.codec.roles.targets)])

    def calibration(self, ratios: Mapping[str, Ratio]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Levels of the quantiles, and the share of values up to each quantile."""
        if "below_Q" not in ratios:
            raise UsageError("this model predicts no quantiles; train one with data.loss=quantile")
        return {"quantiles": (self.levels_Q, ratios["below_Q"].value)}

    def read(self, text: str) -> Example:
        fill = self.config.missing == "forward"
        return read_example(text.strip(), self.codec, *self._steps, time=self.config.time, fill=fill)

    def blank(self, length: int) -> Example:
        del length  # all contexts have one length
        known = self.codec.known_count
        known_SK = np.zeros((sum(self._steps), known), np.float32) if known else None
        return Example(np.zeros((self.config.context, self.codec.read_count), np.float32), known_SK, None)

    def collate(self, examples: list[Example]) -> Windows:
        return collated(examples, self.config.horizon, len(self.codec.roles.targets))

    def predict(self, model: Forecaster, batch: Windows) -> jax.Array:
        return model(batch.past_BTF, batch.known_BSK)

    def render(self, predicted: np.ndarray, example: Example) -> dict[str, Any]:
        return answer(predicted, self.levels_Q, self.codec, example)

    def draw(self, axes: Any, answer: dict[str, Any], example: Example) -> None:
        draw(axes, answer, self.codec, example)
