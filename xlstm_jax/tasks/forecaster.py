"""Forecast any series zero-shot: a model trained on synthetic series only, or tuned on one's own."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import NonNegativeInt, PositiveInt, Rate, Section
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.series.forecasting import SyntheticWindows, Windows
from xlstm_jax.data.series.synthetic.bank import bank
from xlstm_jax.errors import UsageError
from xlstm_jax.models.forecaster import QUANTILES, Forecaster, ForecasterConfig
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split

MARGIN = 160  # steps that the series of the bank have more than a window
EVALUATION_SERIES = 1000
EVALUATION_SEED = 2**40


@dataclasses.dataclass(frozen=True)
class ForecasterData(Section, name="data"):
    series: PositiveInt = 50_000  # synthetic series in the bank, drawn once and cached; training mixes and changes them
    context: PositiveInt = 720  # steps that a forecast is made from, at most; a multiple of `patch`
    horizon: PositiveInt = 144  # steps forecast in training and validation; a multiple of `patch`
    patch: PositiveInt = 24  # steps that the model reads, and forecasts, at once
    covariates: NonNegativeInt = 1  # covariates of synthetic series; 0: none
    covariates_share: Rate = 0.2  # fraction of synthetic series that have them
    batch_size: PositiveInt = 64  # windows in a batch
    evaluation_batches: PositiveInt = 8  # of the split "validation"


@TASKS.register("forecaster")
class ForecasterTask(Task):
    """Quantiles of what follows a series; pinball loss."""

    Config, Model = ForecasterData, ForecasterConfig
    unit = "pinball loss of standardised values"

    def __init__(self, config: ForecasterData, codec: Numbers | None = None):
        self.config = config
        self.codec = codec or Numbers(1)
        for name in ("context", "horizon"):
            if (steps := getattr(config, name)) % config.patch:
                raise UsageError(f"data.{name} {steps} is not allowed; must be a multiple of data.patch {config.patch}")

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Numbers:
        return Numbers.from_json(data)

    @property
    def steps(self) -> int:
        """Of a window."""
        return self.config.context + self.config.horizon

    @functools.cached_property
    def splits(self) -> dict[str, Any]:
        return {"validation": None}

    def _synthetic(self, bank_NT: np.ndarray, seed: int, rows: slice, **options: int) -> grain.IterDataset:
        names = ("batch_size", "patch", "covariates", "covariates_share")
        shape = {name: getattr(self.config, name) for name in names}
        return dataset(SyntheticWindows(bank_NT, seed=seed, part=rows, steps=self.steps, **shape, **options))

    @functools.cached_property
    def _train_NT(self) -> np.ndarray:
        return bank(self.config.series, self.steps + MARGIN, 0)

    @functools.cached_property
    def _validation_NT(self) -> np.ndarray:
        return bank(EVALUATION_SERIES, self.steps + MARGIN, EVALUATION_SEED)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return self._synthetic(self._train_NT, checked_seed(seed), rows)

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        options = {"horizon": self.config.horizon, "length": self.config.evaluation_batches}
        return self._synthetic(self._validation_NT, EVALUATION_SEED, rows, **options)

    @functools.cached_property
    def loss_at_chance(self) -> float:
        """The mean size of the standardised values: 0 is then every quantile."""
        total, count = 0.0, 0
        for batch in self.batches("validation"):
            before_BT = batch.seen_BT & (np.arange(self.steps) < batch.origin_B[:, None])
            weight_BT, y_BT = before_BT.astype(np.float64), batch.values_BT.astype(np.float64)
            number_B1 = np.maximum(weight_BT.sum(axis=1, keepdims=True), 1)
            mean_B1 = (weight_BT * y_BT).sum(axis=1, keepdims=True) / number_B1
            std_B1 = np.sqrt((weight_BT * (y_BT - mean_B1) ** 2).sum(axis=1, keepdims=True) / number_B1)
            size_BT = np.abs(np.arcsinh((y_BT - mean_B1) / np.where(std_B1 > 0, std_B1, 1)))
            scored_BT = batch.known_BT & ~before_BT & (np.arange(self.steps) >= batch.origin_B[:, None])
            total, count = total + size_BT[scored_BT].sum(), count + scored_BT.sum()
        return float(total / count)

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.config).encode()).hexdigest()

    def summary(self) -> str:
        config = self.config
        return f"{config.series:,} synthetic series; forecasts of {config.horizon} steps from {config.context}"

    def build(self, config: ForecasterConfig, *, rngs: nnx.Rngs) -> Forecaster:
        return Forecaster(config, self.config.patch, covariates=self.config.covariates > 0, rngs=rngs)

    def axes(self, batch: Windows) -> Windows:
        first = {"set_B": ("batch",), "error_B": ("batch",), "origin_B": ("batch",), "future_BC": ("batch", None)}
        steps = {name: ("batch", None, None)[: name.count("T") + 1 + name.endswith("C")] for name in batch._fields}
        return Windows(**(steps | first))

    def forward(self, model: Forecaster, batch: Windows, carry: Any, key: jax.Array | None) -> Outcome:
        u_BPSQ, after = self._quantiles(model, batch, key)
        truth_BT = after.scale.standardised(batch.values_BT)
        scored_BT = batch.known_BT & (jnp.arange(truth_BT.shape[1])[None] >= batch.origin_B[:, None])
        size = self.config.patch
        shape = (truth_BT.shape[0], -1, size)
        truth_BPS, scored_BPS = truth_BT[:, size:].reshape(shape), scored_BT[:, size:].reshape(shape)
        cost_BPS = pinball(truth_BPS, u_BPSQ[:, :-1])
        count = jnp.sum(scored_BPS, dtype=jnp.float32)
        return Outcome(Ratio(jnp.sum(jnp.where(scored_BPS, cost_BPS, 0)), count), {}, carry)

    def _quantiles(self, model: Forecaster, batch: Windows, key: jax.Array | None = None) -> tuple[jax.Array, Any]:
        return model.unroll(
            batch.values_BT,
            batch.seen_BT,
            origin_B=batch.origin_B,
            covariates_BTC=batch.covariates_BTC,
            covariates_seen_BTC=batch.covariates_seen_BTC,
            future_BC=batch.future_BC,
            key=key,
        )


def pinball(truth: jax.Array, quantiles: jax.Array) -> jax.Array:
    """2 mean_q max(q e, (q - 1) e), e = truth - quantile q: [...] of truth [...] and quantiles [..., Q]."""
    level_Q = jnp.asarray(QUANTILES, jnp.float32)
    error = truth[..., None] - quantiles
    return 2 * jnp.mean(jnp.maximum(level_Q * error, (level_Q - 1) * error), axis=-1)
