"""Forecasting models over decomposed windows: DLinear and xLSTMTime."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models.forecasting import ForecastConfig, Forecaster, Sizes
from xlstm_jax.models.heads import Head
from xlstm_jax.models.stack import Stack
from xlstm_jax.nn import linear, small_init
from xlstm_jax.nn.norm import BatchNorm


def decomposed(x_BTC: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Trend and rest of each column: trend_t = mean of x_{t-r} ... x_{t+r}, r = (steps - 1) / 2.

    Before the start and after the end, the first and the last value are repeated (Wu et al. 2021, Autoformer).
    """
    radius = (steps - 1) // 2
    ends = jnp.pad(x_BTC, ((0, 0), (radius, radius), (0, 0)), mode="edge")
    sums_BTC = jnp.cumsum(jnp.pad(ends, ((0, 0), (1, 0), (0, 0))), axis=1)
    trend_BTC = (sums_BTC[:, steps:] - sums_BTC[:, :-steps]) / steps
    return trend_BTC, x_BTC - trend_BTC


class Decomposed(Forecaster):
    """Linear maps of trend and rest of each column over its steps: z_C = W_trend trend_C + W_rest rest_C + b.

    With `width` = H Q this is DLinear (Zeng et al. 2023, arXiv 2205.13504), whose weights all columns share.
    """

    def __init__(self, config: ForecastConfig, sizes: Sizes, width: int, *, rngs: nnx.Rngs):
        super().__init__(config, sizes)
        if config.moving_average % 2 == 0:
            raise UsageError(f"model.moving_average {config.moving_average} is not allowed; it must be odd")
        if sizes.read > sizes.targets or sizes.known:
            raise UsageError(f"model.kind {config.kind!r} reads no covariates; leave them out, or use kind 'stack'")
        maps = {"dtype": config.dtype, "rngs": rngs, "axes": (None, None)}
        init = small_init(sizes.context)
        self.trend = linear(sizes.context, width, init, bias=True, **maps)
        self.rest = linear(sizes.context, width, init, **maps)

    def mapped(self, past_BTC: jax.Array) -> jax.Array:
        """[B, C, width]."""
        trend_BTC, rest_BTC = decomposed(past_BTC, self.config.moving_average)
        return self.trend(jnp.swapaxes(trend_BTC, 1, 2)) + self.rest(jnp.swapaxes(rest_BTC, 1, 2))

    def shaped(self, outputs_BCX: jax.Array) -> jax.Array:
        """[B, C, H Q] as [B, H, C, Q]."""
        outputs_BCHQ = outputs_BCX.reshape(*outputs_BCX.shape[:2], self.sizes.horizon, self.sizes.quantiles)
        return jnp.swapaxes(outputs_BCHQ, 1, 2)


class DLinear(Decomposed):
    """The linear forecast of trend and rest (see `Decomposed`)."""

    def __init__(self, config: ForecastConfig, sizes: Sizes, *, rngs: nnx.Rngs):
        super().__init__(config, sizes, sizes.horizon * sizes.quantiles, rngs=rngs)

    def forecast(self, past_BTF: jax.Array, known_BSK: Any, future_BHC: Any, key: Any) -> jax.Array:
        return self.shaped(self.mapped(past_BTF))


class XLSTMTime(Decomposed):
    """xLSTMTime (Alharthi & Mahmood 2024, arXiv 2407.10240): decomposition, linear map, batch norm, stack, linear map.

    A column is one step of the stack, whose features are the linear map of the column's whole context; columns of one
    window are read in order.
    """

    def __init__(self, config: ForecastConfig, sizes: Sizes, *, rngs: nnx.Rngs):
        super().__init__(config, sizes, config.features, rngs=rngs)
        self.norm = BatchNorm(config.features, dtype=jnp.dtype(config.dtype), rngs=rngs)
        self.stack = Stack(config, rngs=rngs)
        self.head = Head(config.features, sizes.horizon * sizes.quantiles, dtype=config.dtype, rngs=rngs)
        self.dropped = nnx.Dropout(config.head_dropout)

    def forecast(self, past_BTF: jax.Array, known_BSK: Any, future_BHC: Any, key: Any) -> jax.Array:
        keys = (None, None) if key is None else jax.random.split(key)
        x_BCD = self.norm(self.mapped(past_BTF), training=key is not None)
        x_BCD, _ = self.stack(x_BCD, key=keys[0])
        return self.shaped(self.head(self.dropped(x_BCD, deterministic=key is None, rngs=keys[1])))
