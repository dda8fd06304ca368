"""Normalization layers."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.checks import check_dtype, check_sizes, checked, is_empty
from xlstm_jax.config import NonNegativeFloat, PositiveFloat, check_value
from xlstm_jax.shapes import padding_mask, state_dtype


def layer_norm(features: int, *, eps: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm with a weight but no bias; statistics in float32."""
    check_sizes("layer_norm", features=features)
    check_dtype("layer_norm", dtype)
    check_value(PositiveFloat, eps, "layer_norm eps")
    return nnx.LayerNorm(features, epsilon=eps, use_bias=False, dtype=dtype, rngs=rngs)


def rms_norm(features: int, *, eps: float = 1e-6, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """x / sqrt(mean(x^2) + eps) with a weight (Zhang & Sennrich 2019); statistics in float32."""
    check_sizes("rms_norm", features=features)
    check_dtype("rms_norm", dtype)
    check_value(PositiveFloat, eps, "rms_norm eps")
    return nnx.RMSNorm(features, epsilon=eps, dtype=dtype, rngs=rngs)


NORMS = {"layer": layer_norm, "rms": rms_norm}


class BatchNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps) * scale + bias, with mean and variance of each feature over rows and steps.

    In training these are the statistics of the current batch, so each row depends on the others and each step on later
    ones. Otherwise they are running averages (Ioffe & Szegedy 2015, arXiv 1502.03167; over a sequence's steps as in
    Laurent et al. 2015, arXiv 1510.01378). The averages are ordinary parameters. Their gradient is defined as their
    difference from the batch's statistics, whatever the loss, and the optimizer moves them by a part of it. Gradient
    accumulation, meshes and checkpoints therefore need no special case.
    """

    def __init__(self, features: int, *, eps: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs):
        del rngs
        check_sizes("BatchNorm", features=features)
        check_dtype("BatchNorm", dtype)
        check_value(PositiveFloat, eps, "BatchNorm eps")
        self.eps, self.dtype = eps, dtype
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.running_mean = nnx.Param(jnp.zeros((features,), jnp.float32), running=True)
        self.running_var = nnx.Param(jnp.ones((features,), jnp.float32), running=True)

    def __call__(self, x_BTD: jax.Array, *, training: bool, lengths: jax.Array | None = None) -> jax.Array:
        """[B, T, D] -> [B, T, D]; steps at or after a row's length (int32 [B]) do not count in mean and variance."""
        sizes = {"D": self.scale.shape[0]}
        x_BTD, lengths = checked("BatchNorm", sizes, x_BTD=x_BTD, lengths_B=lengths)
        mean_D, var_D = self.running_mean[...], self.running_var[...]
        wide_BTD = x_BTD.astype(state_dtype(x_BTD))
        if training and not is_empty(x_BTD):
            counts = True if lengths is None else ~padding_mask(lengths, x_BTD.shape[1])[..., None]
            of_batch = jnp.mean(wide_BTD, (0, 1), where=counts), jnp.var(wide_BTD, (0, 1), where=counts)
            if lengths is not None:
                # A batch that is all padding has no statistics: keep the running averages.
                running = jax.lax.stop_gradient((mean_D, var_D))
                of_batch = jax.tree.map(functools.partial(jnp.where, jnp.any(counts)), of_batch, running)
            wide_BTD = _pulled(wide_BTD, (mean_D, var_D), jax.lax.stop_gradient(of_batch))
            mean_D, var_D = of_batch
        scale_D = self.scale[...] * jax.lax.rsqrt(var_D + self.eps)
        y_BTD = (wide_BTD - mean_D[None, None]) * scale_D[None, None] + self.bias[...][None, None]
        return y_BTD.astype(self.dtype)


@custom_vjp("batch norm in training", instead="another norm, or no key", reverse_alone=True, hint=False)
def _pulled(x: jax.Array, averages: tuple, values: tuple) -> jax.Array:
    """Returns x; the gradient of `averages` is averages - values."""
    return x


def _pulled_forward(x, averages, values):
    return x, jax.tree.map(lambda average, value: average - value.astype(average.dtype), averages, values)


def _pulled_backward(distances, g):
    return g, distances, None


_pulled.defvjp(_pulled_forward, _pulled_backward)


def softcap(x: jax.Array, cap: float) -> jax.Array:
    """cap tanh(x / cap): about x for small x, and within +-cap. A cap of 0 returns x unchanged."""
    check_value(NonNegativeFloat, cap, "softcap cap")
    return cap * jnp.tanh(x / cap) if cap else x


class HeadNorm(nnx.Module):
    """Layer norm of each head separately, with one weight per feature: [..., H, V] -> [..., H * V]."""

    def __init__(self, heads: int, head_features: int, *, eps: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs):
        check_sizes("HeadNorm", heads=heads, head_features=head_features)
        check_dtype("HeadNorm", dtype)
        check_value(PositiveFloat, eps, "HeadNorm eps")
        self.norm = nnx.LayerNorm(head_features, epsilon=eps, use_bias=False, use_scale=False, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((heads * head_features,), jnp.float32))
        self.dtype = dtype

    def __call__(self, h: jax.Array) -> jax.Array:
        width = self.norm.num_features
        (h,) = checked("HeadNorm", {"H": self.scale.shape[0] // width, "V": width}, **{"h_...HV": h})
        flat = self.norm(h.astype(state_dtype(h))).reshape(*h.shape[:-2], self.scale.shape[0])
        return (flat * jnp.broadcast_to(self.scale[...], flat.shape)).astype(self.dtype)
