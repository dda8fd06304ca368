"""Models that forecast a window's horizon from its context: stacks of blocks with three kinds of heads, and baselines.

Context [B, T, F], of whose columns the first C are forecast, to outputs [B, H, C, Q]: a value per quantile, or one.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate
from xlstm_jax.errors import UsageError
from xlstm_jax.models.config import StackConfig


@dataclasses.dataclass(frozen=True)
class ForecastConfig(StackConfig, name="model"):
    """A model that forecasts."""

    # stack: blocks over the steps; xlstm_time: blocks over the channels of a decomposed window (Alharthi & Mahmood
    # 2024); linear: DLinear; naive: the last season again
    kind: Literal["stack", "xlstm_time", "linear", "naive"] = "stack"
    # Of a stack: direct: the whole horizon at once; recursive: a patch at a time, read back; seq2seq: likewise, by a
    # second stack that starts from the state of the first
    head: Literal["direct", "recursive", "seq2seq"] = "direct"
    channels: Literal["independent", "mixed"] = "independent"  # of a stack: a sequence per column, or one of all
    patch: PositiveInt = 8  # steps of the series that a stack reads at once
    linear: bool = False  # of a stack: add a linear map of each column's context, which starts as the last season
    instance_norm: bool = True  # forecast relative to mean and standard deviation of each window's context
    moving_average: PositiveInt = 25  # steps of the trend, for linear and xlstm_time; an odd number
    head_dropout: Rate = 0.0  # dropout rate of the features before the head

    def __post_init__(self):
        super().__post_init__()
        if self.head != "direct" and self.kind != "stack":
            raise UsageError(
                f"model.head {self.head!r} is for model.kind 'stack', not {self.kind!r}; set it to 'direct'"
            )


class Sizes(NamedTuple):
    """Of windows and of what is forecast."""

    context: int  # T, steps
    horizon: int  # H, steps
    targets: int  # C, columns that are forecast
    read: int  # F, columns of the context
    known: int  # K, columns that are known ahead; 0: none
    quantiles: int  # Q; 1 for a point forecast
    season: int = 1  # s, steps of a season; 1: none


def moments(past_BTC: jax.Array, eps: float = 1e-5) -> tuple[jax.Array, jax.Array]:
    """Mean and deviation of each column of each window, [B, 1, C]: reversible instance norm, Kim et al. 2022."""
    mean_B1C = jnp.mean(past_BTC, axis=1, keepdims=True)
    return mean_B1C, jnp.sqrt(jnp.var(past_BTC, axis=1, keepdims=True) + eps)


class Forecaster(nnx.Module):
    """Base class: instance norm around `forecast`.

    Args:
        config: of the model.
        sizes: of the data.
    """

    def __init__(self, config: ForecastConfig, sizes: Sizes):
        self.config, self.sizes = config, sizes

    def __call__(
        self,
        past_BTF: jax.Array,
        known_BSK: jax.Array | None = None,
        *,
        future_BHC: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Outputs [B, H, C, Q], at least float32.

        Args:
            past_BTF: the context, targets first.
            known_BSK: what is known of context and horizon, S = T + H.
            future_BHC: the targets of the horizon, in training: heads that read back their forecasts read these.
            key: of dropout; None: no dropout.
        """
        if not self.config.instance_norm:
            return self.forecast(past_BTF, known_BSK, future_BHC, key)
        targets = self.sizes.targets
        mean_B1C, std_B1C = moments(past_BTF[..., :targets])
        past_BTC = (past_BTF[..., :targets] - mean_B1C) / std_B1C
        past_BTF = jnp.concatenate([past_BTC, past_BTF[..., targets:]], axis=-1)
        future_BHC = None if future_BHC is None else (future_BHC - mean_B1C) / std_B1C
        outputs_BHCQ = self.forecast(past_BTF, known_BSK, future_BHC, key)
        return outputs_BHCQ * std_B1C[..., None] + mean_B1C[..., None]

    def forecast(self, past_BTF: jax.Array, known_BSK: Any, future_BHC: Any, key: Any) -> jax.Array:
        """Outputs [B, H, C, Q] of a normalised window."""
        raise NotImplementedError


def last_season(sizes: Sizes) -> np.ndarray:
    """For each step of the horizon the step of the context that is one season, or several, before it, ints [H]."""
    if sizes.season > sizes.context:
        raise UsageError(f"a season of {sizes.season} steps is longer than data.context {sizes.context}; raise it")
    return sizes.context - sizes.season + np.arange(sizes.horizon) % sizes.season


class SeasonalNaive(Forecaster):
    """The last season of the context again: y_{t+h} = x_{t+h-s}; for h > s it is repeated. No parameters."""

    def __call__(self, past_BTF: jax.Array, known_BSK: Any = None, *, future_BHC: Any = None, key: Any = None):
        del known_BSK, future_BHC, key
        values_BHC = past_BTF[:, last_season(self.sizes), : self.sizes.targets]
        return jnp.repeat(values_BHC[..., None], self.sizes.quantiles, axis=-1)
