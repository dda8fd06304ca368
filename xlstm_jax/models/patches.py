"""Patches of series: standardised, filled, embedded, and predicted, with what covariates add."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.nn import linear, small_init

MOST_LAGS = 13  # of the filter of a covariate
SMALL = 0.01  # initial standard deviation of the weights of a layer whose output begins near 0
SMALLEST = 1e-6  # scale of a series over the size of its values


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

    def __init__(self, features: int, inner: int, patch: int, *, covariates: bool, dtype: Any, rngs: nnx.Rngs):
        self.dtype = dtype
        self.series = Residual(2 * patch, inner, features, dtype=dtype, rngs=rngs)
        given = Residual(6 * patch, inner, features, small=True, dtype=dtype, rngs=rngs) if covariates else None
        self.covariates = given

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


def lags(patch: int) -> int:
    """K, steps of the filter of a covariate."""
    return min(MOST_LAGS, patch)


class Effects(nnx.Module):
    """What covariates add to the next patch: a filter for each, which the model makes from what it has seen.

        effect_s = sum_c sum_k w_ck v_c(s - k), k = 0 .. K - 1        w_c = Residual([x, r_c])

    v is the covariate of this patch and the next. r_c are the mean products of the covariate, k steps late, with the
    series and with its changes, over all patches read so far: what a least-squares fit of the filter would begin with.
    """

    def __init__(self, features: int, inner: int, patch: int, *, dtype: Any, rngs: nnx.Rngs):
        self.lags = lags(patch)
        self.filters = Residual(features + 2 * self.lags, inner, self.lags, small=True, dtype=dtype, rngs=rngs)

    def __call__(self, x_BPD: jax.Array, patches: Patches, sums: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Effects [B, P, S], and the sums after the last patch.

        Args:
            x_BPD: features of the stack.
            patches: what was read.
            sums: [B, C, 4, K], products and their numbers before these patches; see `products`.
        """
        products = self.products(patches)
        sums_BPCGK = sums[:, None] + jnp.cumsum(products, axis=1)
        means_BPCGK = sums_BPCGK[:, :, :, :2] / jnp.maximum(sums_BPCGK[:, :, :, 2:], 1)
        r_BPCF = means_BPCGK.reshape(*means_BPCGK.shape[:3], 2 * self.lags)
        x_BPCD = jnp.broadcast_to(x_BPD[:, :, None], (*r_BPCF.shape[:3], x_BPD.shape[-1]))
        w_BPCK = self.filters(jnp.concatenate([x_BPCD, r_BPCF.astype(x_BPD.dtype)], axis=-1))
        both_BPCU = jnp.concatenate([patches.covariates_BPCS, patches.next_BPCS], axis=-1)
        size = patches.next_BPCS.shape[-1]
        late_BPCKS = jnp.stack([both_BPCU[..., size - k : 2 * size - k] for k in range(self.lags)], axis=3)
        return jnp.einsum("bpck,bpcks->bps", w_BPCK.astype(late_BPCKS.dtype), late_BPCKS), sums_BPCGK[:, -1]

    def products(self, patches: Patches) -> jax.Array:
        """[B, P, C, 4, K]: sums of products of the late covariate with values, and of changes; their numbers."""
        u_BP1S, seen_BP1S = patches.values_BPS[:, :, None], patches.seen_BPS[:, :, None]
        change_BP1S = jnp.pad(u_BP1S[..., 1:] - u_BP1S[..., :-1], [(0, 0)] * 3 + [(1, 0)])
        changed_BP1S = seen_BP1S & jnp.pad(seen_BP1S[..., :-1], [(0, 0)] * 3 + [(1, 0)])
        parts = []
        for k in range(self.lags):
            late = [(0, 0)] * 3 + [(k, 0)]
            size = u_BP1S.shape[-1]
            v_BPCS = jnp.pad(patches.covariates_BPCS, late)[..., :size]
            there_BPCS = jnp.pad(patches.covariates_seen_BPCS, late)[..., :size]
            step_BPCS = jnp.pad(v_BPCS[..., 1:] - v_BPCS[..., :-1], [(0, 0)] * 3 + [(1, 0)])
            stepped_BPCS = there_BPCS & jnp.pad(there_BPCS[..., :-1], [(0, 0)] * 3 + [(1, 0)])
            level = jnp.where(seen_BP1S & there_BPCS, u_BP1S * v_BPCS, 0), seen_BP1S & there_BPCS
            change = jnp.where(changed_BP1S & stepped_BPCS, change_BP1S * step_BPCS, 0), changed_BP1S & stepped_BPCS
            totals = [part.sum(axis=-1, dtype=u_BP1S.dtype) for part in (level[0], change[0], level[1], change[1])]
            parts.append(jnp.stack(totals, axis=-1))
        return jnp.stack(parts, axis=-1)


class QuantileHead(nnx.Module):
    """Quantiles of the next patch: those of the series, moved by what covariates add."""

    def __init__(
        self, features: int, inner: int, patch: int, count: int, *, covariates: bool, dtype: Any, rngs: nnx.Rngs
    ):
        self.quantiles = Residual(features, inner, patch * count, dtype=dtype, rngs=rngs)
        self.effects = Effects(features, inner, patch, dtype=dtype, rngs=rngs) if covariates else None

    def __call__(self, x_BPD: jax.Array, patches: Patches, sums: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Quantiles [B, P, S, Q], float32, and the sums of `Effects`."""
        shape = patches.values_BPS.shape
        u_BPSQ = self.quantiles(x_BPD).astype(jnp.float32).reshape(*shape, -1)
        if self.effects is None or not patches.covariates_BPCS.shape[2]:
            return u_BPSQ, sums
        effect_BPS, sums = self.effects(x_BPD, patches, sums)
        return u_BPSQ + effect_BPS[..., None].astype(u_BPSQ.dtype), sums


def cut(x_BCT: jax.Array, size: int) -> jax.Array:
    """[B, C, T] as patches [B, P, C, S]."""
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
