"""Models that forecast a window's horizon from its context: stacks of blocks with three kinds of heads, and baselines.

Context [B, T, F], of whose columns the first C are forecast, to outputs [B, H, C, Q]: a value per quantile, or one.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate
from xlstm_jax.errors import UsageError
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.models.stack import Carry, Stack


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
    instance_norm: bool = True  # forecast relative to mean and standard deviation of each window's context
    moving_average: PositiveInt = 25  # steps of the trend, for linear and xlstm_time; an odd number
    head_dropout: Rate = 0.0  # dropout rate of the features before the head


class Sizes(NamedTuple):
    """Of windows and of what is forecast."""

    context: int  # T, steps
    horizon: int  # H, steps
    targets: int  # C, columns that are forecast
    read: int  # F, columns of the context
    known: int  # K, columns that are known ahead; 0: none
    quantiles: int  # Q; 1 for a point forecast


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

    def forecast(self, past_BTF: jax.Array, known_BSK: Any, future_BHC: Any, key: Any) -> jax.Array:
        sizes, rows = self.sizes, past_BTF.shape[0]
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
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
        return outputs_BHCQ

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
