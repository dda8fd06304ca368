"""Predict tomorrow's volatility from the prices so far: two stock indices, or a file of the user's own."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.data import price_parts, prices
from xlstm_jax.data.codecs import Numbers, padded, power_of_two
from xlstm_jax.data.price_parts import INDEX_LAST_DAYS, SPLITS
from xlstm_jax.data.prices import Prices, PricesCodec
from xlstm_jax.data.problems.base import FixedRows, Rows
from xlstm_jax.data.series.pieces import Pieces, scored_once
from xlstm_jax.data.series.table import is_table
from xlstm_jax.errors import UsageError, shown
from xlstm_jax.models.volatility import SIMPLE, StackVolatility, VolatilityModelConfig
from xlstm_jax.tasks.answering import Prompts
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.rows import RowsTask

LEAST_PRICES = 23  # of a line to predict: a month of returns


@dataclasses.dataclass(frozen=True)
class VolatilityConfig(Section, name="data"):
    market: Literal["sp500", "nasdaq", "simulated"] = "sp500"  # an index, or a simulated GARCH(1,1)
    path: str = ""  # CSV file with a row per day, instead of a market
    date: str = "Date"  # in that file, the name of the column of dates
    columns: str = "High,Low,Close"  # prices that are read, of an index or a file: these three, or the last alone
    # Last days of training and of validation, such as 2011-12-31,2014-12-31; "": these for an index, else 70% and 85%.
    last_days: str = ""
    sequence_length: PositiveInt = 512  # days of a row
    warm_up: PositiveInt = 20  # first days of a training row, which are read and not scored
    scored: PositiveInt = 128  # last days of a row of the other splits, the only ones that are scored
    days_per_year: PositiveInt = 252  # trading days, for the volatility a year
    batch_size: PositiveInt = 4


@TASKS.register("volatility")
class Volatility(RowsTask):
    """Predict the variance of the next day's return.

    After each day t, the model's output is h = log(s^2) for day t + 1. The loss is QLIKE in the form of Patton 2011 (J.
    Econometrics 160:246), r^2 / s^2 + log(s^2), with returns r standardised on the training days. It is twice the
    negative log-likelihood of a Gaussian with mean 0, without log(2 pi): what GARCH is fitted by.

    `qlike_range` scores the same forecasts by a less noisy proxy v, from the range of the day's prices, in the form
    that is 0 for a perfect forecast: v / s^2 - log(v / s^2) - 1. Both losses rank forecasts as the true variance would,
    up to noise.
    Every day of a split is scored once, from prices before it, which may belong to the split before.
    """

    Config, Model = VolatilityConfig, VolatilityModelConfig
    held_out = ("test",)
    unit = "QLIKE per day"

    def __init__(self, config: VolatilityConfig, codec: PricesCodec | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            last = self.parts["train"].stop
            self.codec = PricesCodec.of(self._columns, self.prices.prices_NP[: last + 2])
            self._problems  # noqa: B018  rows that do not fit show before anything is built

    @functools.cached_property
    def _columns(self) -> tuple[str, ...]:
        columns = tuple(name.strip() for name in self.config.columns.split(","))
        if len(columns) not in (1, 3) or not all(columns) or len({*columns}) < len(columns):
            raise UsageError(
                f"data.columns {shown(self.config.columns)} is not allowed; name the columns of high, low and close, "
                "or of the closing price alone"
            )
        return columns

    @functools.cached_property
    def prices(self) -> Prices:
        """All days."""
        config = self.config
        if config.path:
            return prices.own(config.path, config.date, self._columns)
        if config.market == "simulated":
            return prices.simulated()
        return prices.index(config.market, self._columns)

    @property
    def days_S(self) -> np.ndarray:
        """The day that is predicted after each step: a step reads a day with its return, so the first is day 2."""
        return self.prices.days_N[2:]

    @functools.cached_property
    def parts(self) -> dict[str, slice]:
        """The steps of each split."""
        an_index = not self.config.path and self.config.market in prices.INDICES
        last_days = self.config.last_days or (INDEX_LAST_DAYS if an_index else "")
        return price_parts.parts(self.days_S, last_days, self.config.sequence_length)

    @functools.cached_property
    def _problems(self) -> dict[str, Pieces | FixedRows]:
        config, values = self.config, self.prices.prices_NP
        if config.scored > config.sequence_length or config.warm_up >= config.sequence_length:
            raise UsageError(
                f"data.sequence_length {config.sequence_length} is not allowed with data.scored {config.scored} and "
                f"data.warm_up {config.warm_up}; it must be larger than both"
            )
        inputs_SF = self.codec.features(values)[:-1]
        targets_SV = self.codec.variances(values)[1:].astype(np.float32)
        length, train = config.sequence_length, self.parts["train"]
        pieces = Pieces(inputs_SF[None, train], targets_SV[None, train], length=length, warm_up=config.warm_up)
        problems = {"train": pieces}
        for name in SPLITS[1:]:
            problems[name] = scored_once(inputs_SF, targets_SV, self.parts[name], length=length, scored=config.scored)
        return problems

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> PricesCodec:
        return PricesCodec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        """Of the validation part, with the variance of the training part."""
        rows = self.splits["validation"].all
        return float(rows.targets_BT[..., 0][rows.mask_BT].mean())

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.config).encode())
        digest.update(self.prices.days_N.astype(np.int64).tobytes() + self.prices.prices_NP.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        days_S = self.days_S
        ends = ", ".join(f"{name} to {days_S[part.stop - 1]}" for name, part in self.parts.items())
        return f"{self.config.path or self.config.market}: {len(days_S):,} days from {days_S[0]}; {ends}"

    def build(self, config: VolatilityModelConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        if config.kind != "stack":
            return SIMPLE[config.kind]()
        return StackVolatility(config, self.codec.width, rngs=rngs)

    def forward(self, model: nnx.Module, batch: Rows, carry: Any, key: jax.Array | None) -> Outcome:
        outputs_BT1, _ = model.unroll(batch.inputs_BT, key=key)
        log_BT = outputs_BT1[..., 0]
        days = jnp.sum(batch.mask_BT, dtype=jnp.float32)
        square_BT = batch.targets_BT[..., 0]
        loss = Ratio(jnp.sum(jnp.where(batch.mask_BT, square_BT * jnp.exp(-log_BT) + log_BT, 0)), days)
        ratios = {}
        if batch.targets_BT.shape[-1] > 1:
            range_BT = batch.targets_BT[..., 1]
            there_BT = batch.mask_BT & (range_BT > 0)  # a day with one price has no range
            log_ratio_BT = jnp.log(jnp.where(there_BT, range_BT, 1)) - log_BT
            qlike_BT = jnp.exp(log_ratio_BT) - log_ratio_BT - 1
            total = jnp.sum(jnp.where(there_BT, qlike_BT, 0))
            ratios["qlike_range"] = Ratio(total, jnp.sum(there_BT, dtype=jnp.float32))
        return Outcome(loss, ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"tokens": float(ratios["loss"].count)}

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        del carry
        ranges = f", by ranges {result['qlike_range']:.4f}" if "qlike_range" in result else ""
        return f"{split} loss {result['loss']:.4f} {self.unit}{ranges} ({result['tokens']:,.0f} days)"

    def read(self, text: str) -> np.ndarray:
        """The last days' prices, oldest first: numbers, or the path of a CSV file as for training."""
        columns = self.codec.columns
        if is_table(text):
            values_NP = prices.own(text.strip(), self.config.date, columns).prices_NP
        else:
            values_NP = Numbers(len(columns)).encode(text).astype(np.float64)
        if len(values_NP) < LEAST_PRICES:
            raise UsageError(
                f"the input has {len(values_NP)} days; give the last {LEAST_PRICES} days or more, oldest first, each "
                f"with {', '.join(columns)}"
            )
        if problem := prices.first_problem(values_NP):
            raise UsageError(f"day {problem[0] + 1} of the input: {problem[1]}")
        return self.codec.features(values_NP)

    def blank(self, length: int) -> np.ndarray:
        return np.zeros((length, self.codec.width), np.float32)

    def collate(self, examples: list[np.ndarray]) -> Prompts:
        inputs_BTF, lengths_B = padded(examples, multiple_of=power_of_two(max(map(len, examples))))
        return Prompts(inputs_BTF, lengths_B, np.zeros((len(examples), 1), np.int32))

    def predict(self, model: nnx.Module, batch: Prompts) -> jax.Array:
        """log(s^2) of the day after the last, [B]."""
        outputs_BT1, _ = model.unroll(batch.inputs_BT, lengths=batch.lengths_B)
        return jnp.take_along_axis(outputs_BT1[..., 0], (batch.lengths_B - 1)[:, None], axis=1)[:, 0]

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        daily = float(self.codec.daily_percent(predicted))
        yearly = daily * math.sqrt(self.config.days_per_year)
        return {"volatility_percent_a_day": daily, "volatility_percent_a_year": yearly}
