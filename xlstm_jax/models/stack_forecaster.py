"""A stack of blocks that forecasts: over patches of each column or of all, with three kinds of heads."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models.forecasting import ForecastConfig, Forecaster, Sizes, last_season
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.models.stack import Carry, Stack
from xlstm_jax.nn import linear


class SeasonalLinear(nnx.Module):
    """y_C = W x_C + b for each column's context x_C; W starts as the seasonal naive forecast, b at 0."""

    def __init__(self, sizes: Sizes, *, dtype: Any, rngs: nnx.Rngs):
        def naive(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
            del key
            return jnp.zeros(shape, dtype).at[last_season(sizes), jnp.arange(sizes.horizon)].set(1)

        maps = {"bias": True, "axes": (None, None), "dtype": dtype, "rngs": rngs}
        self.map = linear(sizes.context, sizes.horizon, naive, **maps)

    def __call__(self, past_BTC: jax.Array) -> jax.Array:
        """[B, T, C] to [B, H, C]."""
        return jnp.swapaxes(self.map(jnp.swapaxes(past_BTC, 1, 2)), 1, 2)


class StackForecaster(Forecaster):
    """A stack over patches of the context, with a direct, recursive or sequence-to-sequence head.

    Each step reads `patch` steps of the columns and of what is known of them. The context's first steps are left out if
    `patch` does not divide it. The recursive heads predict the next patch and read the median of their prediction as if
    it were true (in training: what is true); covariates are 0, their mean, in the horizon.

    Args:
        config, sizes: see `Forecaster`.
        rngs: for the parameters.
    """

    def __init__(self, config: ForecastConfig, sizes: Sizes, *, rngs: nnx.Rngs):
        super().__init__(config, sizes)
        if config.patch > sizes.context:
            raise UsageError(f"model.patch {config.patch} is more than data.context {sizes.context}; lower it")
        self.alone = config.channels == "independent"
        columns = 1 + sizes.read - sizes.targets if self.alone else sizes.read
        outputs = (1 if self.alone else sizes.targets) * sizes.quantiles
        steps = sizes.horizon if config.head == "direct" else config.patch
        sizes_of = {"dtype": config.dtype, "rngs": rngs}
        self.embedding = Features(config.patch * (columns + sizes.known), config.features, **sizes_of)
        self.stack = Stack(config, rngs=rngs)
        self.decoder = Stack(config, rngs=rngs) if config.head == "seq2seq" else None
        ahead = config.head == "direct" and sizes.known
        self.ahead = Features(sizes.horizon * sizes.known, config.features, **sizes_of) if ahead else None
        self.head = Head(config.features, steps * outputs, **sizes_of)
        self.dropped = nnx.Dropout(config.head_dropout)
        self.skip = SeasonalLinear(sizes, dtype=config.dtype, rngs=rngs) if config.linear else None

    def forecast(self, past_BTF: jax.Array, known_BSK: Any, future_BHC: Any, key: Any) -> jax.Array:
        sizes, rows = self.sizes, past_BTF.shape[0]
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        skipped_BHC1 = None if self.skip is None else self.skip(past_BTF[..., : sizes.targets])[..., None]
        if self.alone:  # each column of each window is a row, with all covariates
            past_BTF = self._apart(past_BTF[..., : sizes.targets], past_BTF[..., sizes.targets :])
            known_BSK = None if known_BSK is None else jnp.repeat(known_BSK, sizes.targets, axis=0)
            future_BHC = None if future_BHC is None else self._apart(future_BHC, future_BHC[..., :0])
        count = sizes.context // self.config.patch
        start = sizes.context - count * self.config.patch
        known_BTK = None if known_BSK is None else known_BSK[:, start : sizes.context]
        x_BND, carry = self.stack(self._read(past_BTF[:, start:], known_BTK), key=keys[0])
        if self.config.head == "direct":
            x_BD = x_BND[:, -1]
            if self.ahead is not None:
                x_BD += self.ahead(known_BSK[:, sizes.context :].reshape(len(x_BD), 1, -1))[:, 0]
            outputs_BHCQ = self._head(x_BD[:, None], keys[1])
        else:
            known_BHK = None if known_BSK is None else known_BSK[:, sizes.context :]
            outputs_BHCQ = self._recursive(past_BTF, x_BND[:, -1:], carry, known_BHK, future_BHC, keys[1:])
        if self.alone:
            outputs_BHCQ = jnp.swapaxes(outputs_BHCQ.reshape(rows, sizes.targets, sizes.horizon, -1), 1, 2)
        return outputs_BHCQ if self.skip is None else outputs_BHCQ + skipped_BHC1

    def _apart(self, targets_BTC: jax.Array, covariates_BTE: jax.Array) -> jax.Array:
        """[B C, T, 1 + E] of targets [B, T, C] and covariates [B, T, E]."""
        rows, time, count = targets_BTC.shape
        alone = jnp.swapaxes(targets_BTC, 1, 2).reshape(rows * count, time, 1)
        return jnp.concatenate([alone, jnp.repeat(covariates_BTE, count, axis=0)], axis=-1)

    def _read(self, x_BTF: jax.Array, known_BTK: jax.Array | None) -> jax.Array:
        """Features [B, N, D] of patches."""
        if known_BTK is not None:
            x_BTF = jnp.concatenate([x_BTF, known_BTK], axis=-1)
        rows, time, columns = x_BTF.shape
        return self.embedding(x_BTF.reshape(rows, time // self.config.patch, self.config.patch * columns))

    def _head(self, x_BND: jax.Array, key: Any) -> jax.Array:
        """Outputs [B, steps, C, Q] of features [B, N, D]."""
        x_BND = self.dropped(x_BND, deterministic=key is None, rngs=key)
        columns = 1 if self.alone else self.sizes.targets
        outputs = self.head(x_BND)
        return outputs.reshape(len(outputs), -1, columns, self.sizes.quantiles)

    def _recursive(self, past_BTF, x_B1D, carry: Carry, known_BHK, future_BHC, keys) -> jax.Array:
        """A patch of the horizon at a time. `x_B1D` and `carry` are those after the context."""
        patch, horizon = self.config.patch, self.sizes.horizon
        count, columns = -(-horizon // patch), past_BTF.shape[-1]

        def patches(x_BHX: jax.Array) -> jax.Array:
            """The horizon filled up to whole patches."""
            return jnp.pad(x_BHX, ((0, 0), (0, count * patch - horizon), (0, 0)))

        def read(values_BTC: jax.Array, known_BTK: Any) -> jax.Array:
            return self._read(jnp.pad(values_BTC, ((0, 0), (0, 0), (0, columns - values_BTC.shape[-1]))), known_BTK)

        known_BHK = None if known_BHK is None else patches(known_BHK)
        last_BPC = past_BTF[:, -patch:, : 1 if self.alone else self.sizes.targets]
        # The same stack reads patch n to predict patch n + 1; a decoder also reads the context's last patch, and what
        # is known of the patch that it predicts.
        first = [] if self.decoder is not None else [self._head(x_B1D, None)]
        stack, steps = (self.stack, count - 1) if first else (self.decoder, count)
        known_BHK = None if known_BHK is None else known_BHK[:, : steps * patch]
        if future_BHC is not None:
            given_BHC = jnp.concatenate([last_BPC, patches(future_BHC)], axis=1)[:, patch if first else 0 :]
            x_BND = [x_B1D] if first else []
            if steps:
                x_BND.append(stack(read(given_BHC[:, : steps * patch], known_BHK), carry, key=keys[0])[0])
            return self._head(jnp.concatenate(x_BND, axis=1), keys[1])[:, :horizon]

        def step(state: tuple[Carry, jax.Array], known_BPK: jax.Array | None):
            carry, values_BPC = state
            x_B1D, carry = stack(read(values_BPC, known_BPK), carry)
            outputs_BPCQ = self._head(x_B1D, None)
            return (carry, self._point(outputs_BPCQ, past_BTF.dtype)), outputs_BPCQ

        values_BPC = self._point(first[0], past_BTF.dtype) if first else last_BPC
        known_NBPK = None if known_BHK is None else jnp.stack(jnp.split(known_BHK, steps, axis=1)) if steps else None
        _, outputs_NBPCQ = jax.lax.scan(step, (carry, values_BPC), known_NBPK, length=steps)
        outputs_BHCQ = jnp.moveaxis(outputs_NBPCQ, 0, 1).reshape(len(x_B1D), steps * patch, *outputs_NBPCQ.shape[3:])
        return jnp.concatenate([*first, outputs_BHCQ], axis=1)[:, :horizon]

    def _point(self, outputs_BPCQ: jax.Array, dtype: Any) -> jax.Array:
        """The median, which is read back."""
        return outputs_BPCQ[..., self.sizes.quantiles // 2].astype(dtype)
