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
from xlstm_jax.models.patches import Patches, PatchInput, QuantileHead, Scale, cut, filled, lags
from xlstm_jax.models.stack import Stack


@dataclasses.dataclass(frozen=True)
class ForecasterConfig(StackConfig, name="model"):
    """A forecaster."""

    hidden_factor: PositiveFactor = 1.0  # width of the layers in the embedding and the head, over features


class ForecasterCarry(NamedTuple):
    """What passes from call to call of a series that is read in pieces."""

    scale: Scale
    covariates_scale: Scale  # of [B C, 1]
    last_B: jax.Array  # the last value seen, standardised
    sums_BCGK: jax.Array  # of `Effects`
    stack: Any


class PatchForecaster(Stack):
    """Quantiles of each next patch: head(stack(input)), with `PatchInput` and `QuantileHead`.

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
        sizes = config.features, round(config.hidden_factor * config.features), patch
        options = {"covariates": covariates, "dtype": jnp.dtype(config.dtype), "rngs": rngs}
        self.embedding = PatchInput(*sizes, **options)
        super().__init__(config, rngs=rngs)
        self.head = QuantileHead(*sizes, len(levels), **options)

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
            origin_B=jnp.full(rows, left + steps),
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
            covariates_BTC, covariates_seen_BTC: covariates of T steps, of T + S if those of the next patch are known.
            future_BC: bools, false for covariates that are not known a patch ahead; None: all are.
            key: for dropout.
        """
        rows, steps = values_BT.shape
        shape = (rows, steps // self.patch, self.patch)
        before_BT = _before(seen_BT, origin_B)
        scale = Scale.of(values_BT, before_BT) if carry is None else carry.scale
        last_B = jnp.zeros(rows, values_BT.dtype) if carry is None else carry.last_B
        u_BT, last_B = filled(jnp.where(seen_BT, scale.standardised(values_BT), 0), seen_BT, last_B)
        if covariates_BTC is None:
            covariates_BTC = jnp.zeros((rows, steps, 0), values_BT.dtype)
            covariates_seen_BTC = jnp.zeros((rows, steps, 0), bool)
        v_BCU, v_seen_BCU = jnp.moveaxis(covariates_BTC, 1, 2), jnp.moveaxis(covariates_seen_BTC, 1, 2)
        count, wide = v_BCU.shape[1:]
        flat_NU, flat_seen_NU = v_BCU.reshape(rows * count, wide), v_seen_BCU.reshape(rows * count, wide)
        v_scale = carry and carry.covariates_scale
        if carry is None:
            v_scale = Scale.of(
                flat_NU, _before(flat_seen_NU, None if origin_B is None else jnp.repeat(origin_B, count))
            )
        v_BCU = jnp.where(v_seen_BCU, v_scale.standardised(flat_NU).reshape(v_BCU.shape), 0)
        here, ahead = self._here_and_ahead(v_BCU, v_seen_BCU, steps, future_BC)
        patches = Patches(u_BT.reshape(shape), seen_BT.reshape(shape), *here, *ahead)
        x_BPD, stack = self(self.embedding(patches), carry and carry.stack, key=key)
        sums = jnp.zeros((rows, count, 4, lags(self.patch)), u_BT.dtype) if carry is None else carry.sums_BCGK
        u_BPSQ, sums = self.head(x_BPD, patches, sums)
        return u_BPSQ, ForecasterCarry(scale, v_scale, last_B, sums, stack)

    def _here_and_ahead(self, v_BCU: jax.Array, seen_BCU: jax.Array, steps: int, future_BC: jax.Array | None):
        """Patches of covariates, and of what is known of them a patch ahead: two pairs of values and masks."""
        size = self.patch
        room = [(0, 0), (0, 0), (0, max(size + steps - v_BCU.shape[2], 0))]
        here = cut(v_BCU[..., :steps], size), cut(seen_BCU[..., :steps], size)
        v_BPCS, seen_BPCS = (cut(jnp.pad(part, room)[..., size : size + steps], size) for part in (v_BCU, seen_BCU))
        if future_BC is not None:
            seen_BPCS &= future_BC[:, None, :, None]
        return here, (jnp.where(seen_BPCS, v_BPCS, 0), seen_BPCS)


def _before(seen_BT: jax.Array, origin_B: jax.Array | None) -> jax.Array:
    """What is seen before the origin."""
    return seen_BT if origin_B is None else seen_BT & (jnp.arange(seen_BT.shape[1])[None] < origin_B[:, None])
