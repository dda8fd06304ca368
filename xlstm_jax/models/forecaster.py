"""A zero-shot forecaster of time series: patches in, a stack of blocks, quantiles of the next patch out.

As TiRex (Auer et al. 2025, arXiv 2505.23719) and TiRex-2 (Podest et al. 2026, arXiv 2607.01204) describe it: series are
standardised one by one, cut into patches, and embedded with a mask of the values that are missing; a stack of recurrent
blocks reads them; each step predicts quantiles of the patch after it. Long horizons are forecast by reading patches in
which everything is missing, so that the state, not a fed-back forecast, carries what is known.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.models.config import PositiveFactor, StackConfig
from xlstm_jax.models.stack import Stack
from xlstm_jax.nn import linear, small_init

SMALL = 0.01  # initial standard deviation of the weights of a layer whose output begins near 0
SMALLEST = 1e-6  # scale of a series over the size of its values


@dataclasses.dataclass(frozen=True)
class ForecasterConfig(StackConfig, name="model"):
    """A forecaster."""

    hidden_factor: PositiveFactor = 1.0  # width of the layers in the embedding and the head, over features


class Scale(NamedTuple):
    """What standardises each series: u = asinh((y - mean) / std)."""

    mean_B1: jax.Array
    std_B1: jax.Array

    @classmethod
    def of(cls, values_BT: jax.Array, seen_BT: jax.Array) -> "Scale":
        """Mean and standard deviation of the values seen; of none, 0 and 1."""
        count_B1 = jnp.maximum(jnp.sum(seen_BT, axis=1, keepdims=True), 1).astype(values_BT.dtype)
        mean_B1 = jnp.sum(jnp.where(seen_BT, values_BT, 0), axis=1, keepdims=True) / count_B1
        squares_BT = jnp.where(seen_BT, (values_BT - mean_B1) ** 2, 0)
        variance_B1 = jnp.sum(squares_BT, axis=1, keepdims=True) / count_B1
        std_B1 = jnp.sqrt(variance_B1)
        least_B1 = SMALLEST * jnp.maximum(jnp.abs(mean_B1), SMALLEST)
        return cls(mean_B1, jnp.where(std_B1 > least_B1, std_B1, 1))

    def standardised(self, y_BT: jax.Array) -> jax.Array:
        return jnp.arcsinh((y_BT - self.mean_B1) / self.std_B1)

    def restored(self, u_BT: jax.Array) -> jax.Array:
        """The inverse, for [B, ...]."""
        shape = (-1, *(1,) * (u_BT.ndim - 1))
        return jnp.sinh(u_BT) * self.std_B1.reshape(shape) + self.mean_B1.reshape(shape)


class Residual(nnx.Module):
    """W_skip x + W_down SiLU(W_up x): a layer with a linear way around it."""

    def __init__(self, width: int, inner: int, outputs: int, *, small: bool = False, dtype: Any, rngs: nnx.Rngs):
        first = nnx.initializers.lecun_normal()
        skip, last = (nnx.initializers.normal(SMALL),) * 2 if small else (first, small_init(inner))
        self.up = linear(width, inner, first, bias=True, axes=(None, "inner"), dtype=dtype, rngs=rngs)
        self.down = linear(inner, outputs, last, axes=("inner", None), dtype=dtype, rngs=rngs)
        self.skip = linear(width, outputs, skip, axes=(None, None), dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.skip(x) + self.down(jax.nn.silu(self.up(x)))


class Patches(NamedTuple):
    """What the model reads at P steps, each of S values, with C covariates; all standardised."""

    values_BPS: jax.Array  # where a value is missing, the last one before it
    seen_BPS: jax.Array  # bool
    covariates_BPCS: jax.Array
    covariates_seen_BPCS: jax.Array
    next_BPCS: jax.Array  # the covariates of the patch after this one
    next_seen_BPCS: jax.Array  # false where they are not known ahead


class PatchInput(nnx.Module):
    """x_p = f([values, seen]) + sum_c g([values, seen, covariate c of this patch and of the next, what of it is seen]).

    f and g are `Residual`. g begins near 0. It is left out for covariates of which nothing is seen: without covariates
    the model is that of the series alone.
    """

    def __init__(self, config: ForecasterConfig, patch: int, *, covariates: bool, rngs: nnx.Rngs):
        inner, dtype = round(config.hidden_factor * config.features), jnp.dtype(config.dtype)
        self.dtype = dtype
        self.series = Residual(2 * patch, inner, config.features, dtype=dtype, rngs=rngs)
        wide = 6 * patch
        layer = Residual(wide, inner, config.features, small=True, dtype=dtype, rngs=rngs) if covariates else None
        self.covariates = layer

    def __call__(self, patches: Patches, lengths: jax.Array | None = None) -> jax.Array:
        """[B, P, D]."""
        del lengths
        own_BPF = jnp.concatenate([patches.values_BPS, patches.seen_BPS.astype(self.dtype)], axis=-1)
        x_BPD = self.series(own_BPF)
        if self.covariates is None or not patches.covariates_BPCS.shape[2]:
            return x_BPD
        own_BPCF = jnp.broadcast_to(own_BPF[:, :, None], (*patches.covariates_BPCS.shape[:3], own_BPF.shape[-1]))
        parts = (patches.covariates_BPCS, patches.covariates_seen_BPCS, patches.next_BPCS, patches.next_seen_BPCS)
        given_BPCF = jnp.concatenate([own_BPCF, *(part.astype(self.dtype) for part in parts)], axis=-1)
        seen_BPC = jnp.any(patches.covariates_seen_BPCS | patches.next_seen_BPCS, axis=-1)
        return x_BPD + jnp.sum(jnp.where(seen_BPC[..., None], self.covariates(given_BPCF), 0), axis=2)


class ForecasterCarry(NamedTuple):
    """What passes from call to call of a series that is read in pieces."""

    scale: Scale
    covariates_scale: Scale  # of [B C, 1]
    last_B: jax.Array  # the last value seen, standardised
    stack: Any


class PatchForecaster(Stack):
    """Quantiles of each next patch: W(stack(x)), with x of `PatchInput` and W a `Residual`.

    Args:
        config: of the stack and of the layers around it.
        patch: S, steps that are read, and forecast, at once.
        levels: of the Q quantiles.
        covariates: False: the model has no parameters for covariates, and ignores them.
    """

    config: ForecasterConfig

    def __init__(
        self, config: ForecasterConfig, patch: int, levels: Sequence[float], *, covariates: bool = True, rngs: nnx.Rngs
    ):
        self.patch, self.levels = patch, tuple(levels)
        self.embedding = PatchInput(config, patch, covariates=covariates, rngs=rngs)
        super().__init__(config, rngs=rngs)
        inner, outputs = round(config.hidden_factor * config.features), patch * len(levels)
        self.head = Residual(config.features, inner, outputs, dtype=jnp.dtype(config.dtype), rngs=rngs)

    def forecast(
        self,
        values_BT: jax.Array,
        seen_BT: jax.Array,
        horizon: int,
        *,
        covariates_BSC: jax.Array | None = None,
        covariates_seen_BSC: jax.Array | None = None,
        future_BC: jax.Array | None = None,
    ) -> jax.Array:
        """Quantiles [B, horizon, Q] of what follows, in the units of the values, increasing.

        Args:
            values_BT: contexts of any length that end together; values that are not seen are ignored.
            seen_BT: bools.
            horizon: steps to forecast.
            covariates_BSC, covariates_seen_BSC: covariates of T + horizon steps.
            future_BC: see `unroll`.
        """
        rows, steps = values_BT.shape
        left, size = -steps % self.patch, self.patch
        ahead = -(-horizon // size) * size

        def padded(x: jax.Array, right: int) -> jax.Array:
            return jnp.pad(x, [(0, 0), (left, right), *[(0, 0)] * (x.ndim - 2)])

        if covariates_BSC is not None:
            covariates_BSC, covariates_seen_BSC = (
                padded(part, ahead - horizon) for part in (covariates_BSC, covariates_seen_BSC)
            )
        values_BT, seen_BT = (padded(part, ahead - size) for part in (values_BT, seen_BT))
        u_BPSQ, carry = self.unroll(
            values_BT,
            seen_BT,
            covariates_BTC=covariates_BSC,
            covariates_seen_BTC=covariates_seen_BSC,
            future_BC=future_BC,
        )
        last_BHQ = u_BPSQ[:, -(ahead // size) :].reshape(rows, ahead, len(self.levels))[:, :horizon]
        return jnp.sort(carry.scale.restored(last_BHQ), axis=-1)

    def unroll(
        self,
        values_BT: jax.Array,
        seen_BT: jax.Array,
        carry: ForecasterCarry | None = None,
        *,
        origin_B: jax.Array | None = None,
        covariates_BTC: jax.Array | None = None,
        covariates_seen_BTC: jax.Array | None = None,
        future_BC: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, ForecasterCarry]:
        """Standardised quantiles [B, P, S, Q] of the patch after each of the P = T / S patches, and the carry.

        Args:
            values_BT: T a multiple of the patch; values that are not seen are ignored.
            seen_BT: bools.
            carry: of the call that read what is before; None: the series begin here, and their scale is that of the
                values seen before `origin_B`, all of them if it is None. Later calls keep the scale.
            covariates_BTC, covariates_seen_BTC: covariates of the T steps; with a carry, or for the first call, of T +
            S
                steps if those of the next patch are known: without them the last patch is read as if they were not.
            future_BC: bools, false for covariates that are not known a patch ahead; None: all are.
            key: for dropout.
        """
        rows, steps = values_BT.shape
        size = self.patch
        before_BT = seen_BT if origin_B is None else seen_BT & (jnp.arange(steps)[None] < origin_B[:, None])
        scale = Scale.of(values_BT, before_BT) if carry is None else carry.scale
        last_B = jnp.zeros(rows, values_BT.dtype) if carry is None else carry.last_B
        u_BT, last_B = filled(jnp.where(seen_BT, scale.standardised(values_BT), 0), seen_BT, last_B)
        if covariates_BTC is None:
            covariates_BTC = jnp.zeros((rows, steps, 0), values_BT.dtype)
            covariates_seen_BTC = jnp.zeros((rows, steps, 0), bool)
        c_BCU, c_seen_BCU = jnp.moveaxis(covariates_BTC, 1, 2), jnp.moveaxis(covariates_seen_BTC, 1, 2)
        count, wide = c_BCU.shape[1:]
        c_scale = carry and carry.covariates_scale
        if carry is None:
            c_before = c_seen_BCU & (
                True if origin_B is None else jnp.arange(wide)[None, None] < origin_B[:, None, None]
            )
            c_scale = Scale.of(c_BCU.reshape(rows * count, wide), c_before.reshape(rows * count, wide))
        c_BCU = c_scale.standardised(c_BCU.reshape(rows * count, wide)).reshape(c_BCU.shape)
        c_BCU = jnp.where(c_seen_BCU, c_BCU, 0)
        here = _patches(c_BCU[..., :steps], size), _patches(c_seen_BCU[..., :steps], size)
        room = [(0, 0), (0, 0), (0, max(size + steps - wide, 0))]
        ahead = (_patches(jnp.pad(part, room)[..., size : size + steps], size) for part in (c_BCU, c_seen_BCU))
        next_BPCS, next_seen_BPCS = ahead
        if future_BC is not None:
            next_seen_BPCS &= future_BC[:, None, :, None]
            next_BPCS = jnp.where(next_seen_BPCS, next_BPCS, 0)
        shape = (rows, steps // size, size)
        patches = Patches(u_BT.reshape(shape), seen_BT.reshape(shape), *here, next_BPCS, next_seen_BPCS)
        x_BPD, stack = self(self.embedding(patches), carry and carry.stack, key=key)
        u_BPO = self.head(x_BPD).astype(jnp.float32)
        u_BPSQ = u_BPO.reshape(*shape, len(self.levels))
        return u_BPSQ, ForecasterCarry(scale, c_scale, last_B, stack)


def _patches(x_BCT: jax.Array, size: int) -> jax.Array:
    """[B, C, T] as [B, P, C, S]."""
    rows, count, steps = x_BCT.shape
    return jnp.moveaxis(x_BCT.reshape(rows, count, steps // size, size), 1, 2)


def filled(u_BT: jax.Array, seen_BT: jax.Array, last_B: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The last value seen up to each step, [B, T], and the very last, [B]; `last_B` before any is seen."""
    steps = u_BT.shape[1]
    place_BT = jnp.where(seen_BT, jnp.arange(1, steps + 1)[None], 0)
    latest_BT = jax.lax.cummax(place_BT, axis=1)
    all_BT = jnp.concatenate([last_B[:, None], u_BT], axis=1)
    filled_BT = jnp.take_along_axis(all_BT, latest_BT, axis=1)
    return filled_BT, filled_BT[:, -1]
