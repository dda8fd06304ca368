"""Forecast any series: a model trained on synthetic series only, scored on real ones, and tuned on one's own."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import grain
import jax
import numpy as np
from flax import nnx

from xlstm_jax.config import NonNegativeInt, PositiveInt, Rate, Section, listed
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.codecs import Levels, power_of_two
from xlstm_jax.data.series.synthetic.bank import bank
from xlstm_jax.data.series.zero_shot import benchmark
from xlstm_jax.data.series.zero_shot.masked import Shape, SyntheticForecasts, SyntheticWindows, Windows, mean_size
from xlstm_jax.data.series.zero_shot.questions import Question, Questions, answer, collated, draw, plain, read_question
from xlstm_jax.data.series.zero_shot.series_set import SeriesSet, check_horizons
from xlstm_jax.data.series.zero_shot.set_windows import ForecastWindows, TuningWindows
from xlstm_jax.errors import UsageError
from xlstm_jax.models.forecaster import ForecasterConfig, PatchForecaster
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split
from xlstm_jax.tasks.forecast_scores import of_patches, relative

LEVELS = tuple(number / 10 for number in range(1, 10))
MARGIN = 160  # steps that the series of the bank have more than a window
EVALUATION_SERIES = 1000
EVALUATION_SEED = 2**40


@dataclasses.dataclass(frozen=True)
class ForecasterData(Section, name="data"):
    series: PositiveInt = 50_000  # synthetic series in the bank, drawn once and cached; training mixes and changes them
    # Train on a data set instead: m4_hourly, ett_h1, exchange, illness, pollution or nab; "": synthetic series.
    name: str = ""
    path: str = ""  # or on a CSV file with a header, a row per time step
    time: str = ""  # its column of dates; "": none
    targets: str = ""  # its columns to forecast, with commas between them; "": all that have no other part
    past: str = ""  # its columns that the targets depend on, known up to the present
    future: str = ""  # likewise, known ahead as well
    season: PositiveInt = 1  # its steps in a season, for the seasonal naive forecast that it is compared with
    # Data sets to be scored on after training; "": none
    benchmark: str = "m4_hourly,ett_h1,exchange,illness,pollution,nab"
    reference: Literal["seasonal_naive", "auto_ets"] = "seasonal_naive"  # what scores are relative to
    context: PositiveInt = 720  # steps that a forecast is made from, at most; a multiple of `patch`
    horizon: PositiveInt = 144  # steps forecast, at most, in training and scoring; a multiple of `patch`
    patch: PositiveInt = 24  # steps that the model reads, and forecasts, at once
    ahead: PositiveInt = 48  # steps that experiments.predict forecasts if it is not told; of a CSV file, steps scored
    covariates: NonNegativeInt = 1  # covariates of synthetic series; 0: the model has no parameters for them
    covariates_share: Rate = 0.2  # fraction of synthetic series that have them
    batch_size: PositiveInt = 64  # windows in a batch
    evaluation_batches: PositiveInt = 8  # of synthetic series in the split "validation"


@TASKS.register("forecaster")
class ForecasterTask(Task):
    """Quantiles of what follows a series; pinball loss of standardised values.

    Splits: "validation", of synthetic series, and "benchmark", real data sets of which none is trained on. With
    `data.name` or `data.path` the training, validation and test parts of those data are used instead.

    Metrics of real data: for each set the weighted quantile loss, SET_wql = sum of pinball losses / sum |y|, and
    SET_mase; both of the reference forecast, SET_reference_wql and SET_reference_mase; and their quotients,
    SET_relative_wql and SET_relative_mase. `relative_wql` and `relative_mase` are geometric means over the sets (Ansari
    et al. 2024, section 5.4); `coverage` is the share of values between the quantiles 0.1 and 0.9.
    """

    Config, Model = ForecasterData, ForecasterConfig
    unit = "pinball loss of standardised values"

    def __init__(self, config: ForecasterData, codec: Levels | None = None):
        self.config = config
        self.codec = codec or Levels(LEVELS)
        for name in ("context", "horizon"):
            if (steps := getattr(config, name)) % config.patch:
                raise UsageError(f"data.{name} {steps} is not allowed; must be a multiple of data.patch {config.patch}")
        if config.name and config.path:
            raise UsageError("data.name and data.path are both given; give one")
        if codec is None:
            self.splits  # noqa: B018  what does not fit shows before anything is built

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Levels:
        return Levels.from_json(data)

    @functools.cached_property
    def _own(self) -> SeriesSet | None:
        """The data to train on; None for synthetic series."""
        config = self.config
        if config.name:
            return benchmark.load(config.name)
        if not config.path:
            return None
        roles = map(listed, (config.targets, config.past, config.future))
        return benchmark.own(config.path, config.time, *roles, season=config.season, horizon=config.ahead)

    @functools.cached_property
    def _sets(self) -> tuple[SeriesSet, ...]:
        """The data that scores are computed for."""
        sets = (self._own,) if self._own else tuple(map(benchmark.load, listed(self.config.benchmark)))
        check_horizons(sets, self.config.horizon)
        return sets

    @functools.cached_property
    def splits(self) -> dict[str, str]:
        """Names of splits with the part of the sets that they are; "" for synthetic series."""
        if self._own:
            return {"validation": "validation", "test": "test"}
        return {"validation": ""} | ({"benchmark": "test"} if self._sets else {})

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(name for name in self.splits if name != "validation")

    def _shape(self, rows: slice) -> Shape:
        config = self.config
        return Shape(config.batch_size, rows, config.context, config.horizon, config.patch)

    def _bank(self, size: int, seed: int) -> np.ndarray:
        return bank(size, self.config.context + self.config.horizon + MARGIN, seed)

    @functools.cached_property
    def _train_NT(self) -> np.ndarray:
        return self._bank(self.config.series, 0)

    @functools.cached_property
    def _validation_NT(self) -> np.ndarray:
        return self._bank(EVALUATION_SERIES, EVALUATION_SEED)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        if self._own:
            return dataset(TuningWindows(self._own, self._shape(rows), checked_seed(seed)))
        return dataset(SyntheticWindows(self._train_NT, self._shape(rows), checked_seed(seed), **self._covariates))

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        if part := self.splits[split]:
            return dataset(ForecastWindows(self._sets, part, self._shape(rows), self.config.reference))
        more = self._covariates | {"length": self.config.evaluation_batches}
        return dataset(SyntheticForecasts(self._validation_NT, self._shape(rows), EVALUATION_SEED, **more))

    @property
    def _covariates(self) -> dict[str, Any]:
        return {"covariates": self.config.covariates, "share": self.config.covariates_share}

    @functools.cached_property
    def loss_at_chance(self) -> float:
        """The mean size of the standardised values of the validation split: 0 is then every quantile."""
        return mean_size(self.batches("validation"))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.config).encode())
        for series in self._own.series if self._own else ():
            digest.update(series.values_T.tobytes() + series.covariates_TC.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        config = self.config
        what = f"{len(self._own.series):,} series of {config.path or config.name}" if self._own else ""
        what = what or f"{config.series:,} synthetic series"
        return f"{what}; forecasts of up to {config.horizon} steps from up to {config.context}"

    def build(self, config: ForecasterConfig, *, rngs: nnx.Rngs) -> PatchForecaster:
        return PatchForecaster(
            config, self.config.patch, self.codec.levels, covariates=self.config.covariates > 0, rngs=rngs
        )

    def axes(self, batch: Windows) -> Windows:
        axis = {"B": "batch", "T": "time", "C": None}
        named = {name: tuple(axis[letter] for letter in name.rpartition("_")[2]) for name in batch._fields}
        return Windows(*(None if value is None else named[name] for name, value in batch._asdict().items()))

    def forward(self, model: PatchForecaster, batch: Windows, carry: Any, key: jax.Array | None) -> Outcome:
        u_BPSQ, after = model.unroll(
            batch.values_BT,
            batch.seen_BT,
            origin_B=batch.origin_B,
            covariates_BTC=batch.covariates_BTC,
            covariates_seen_BTC=batch.covariates_seen_BTC,
            future_BC=batch.future_BC,
            key=key,
        )
        names = () if batch.set_B is None else [one.name for one in self._sets]
        return Outcome(*of_patches(batch, u_BPSQ, after.scale, self.codec.levels, names), carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return relative(ratios, [one.name for one in self._sets]) if "coverage" in ratios else {}

    def calibration(self, ratios: Mapping[str, Ratio]) -> dict[str, tuple[Sequence[float], np.ndarray]]:
        """Of each data set, levels of the quantiles, and the share of values up to each quantile."""
        return {one.name: (self.codec.levels, ratios[f"{one.name}_below_Q"].value) for one in self._sets}

    def read(self, text: str) -> Question:
        return read_question(text, self.config.ahead)

    def blank(self, length: int) -> Question:
        return plain(np.zeros(length), self.config.ahead)

    def collate(self, examples: list[Question]) -> Questions:
        longest = min(max(len(example.values_T) for example in examples), self.config.context)
        return collated(examples, power_of_two(longest))

    def predict(self, model: PatchForecaster, batch: Questions) -> jax.Array:
        """[B, H, Q]: quantiles of what follows the contexts, standardised."""
        return model.forecast(
            batch.values_BT,
            batch.seen_BT,
            batch.horizon,
            covariates_BSC=batch.covariates_BSC,
            covariates_seen_BSC=batch.covariates_seen_BSC,
            future_BC=batch.future_BC,
        )

    def render(self, predicted: np.ndarray, example: Question) -> dict[str, Any]:
        return answer(predicted, example, self.codec.levels)

    def draw(self, axes: Any, answer: dict[str, Any], example: Question) -> None:
        draw(axes, answer, example)
