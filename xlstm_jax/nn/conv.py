"""Causal depthwise convolution layer."""

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_dtype, check_sizes, checked
from xlstm_jax.ops.conv import causal_conv


class CausalConv(nnx.Module):
    """Depthwise convolution over the current and the previous `width` - 1 steps, one kernel and one bias per feature.

    Kernel and bias are initialised uniformly in +-1/sqrt(width).
    """

    def __init__(self, features: int, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        check_sizes("CausalConv", features=features, width=width)
        check_dtype("CausalConv", dtype)
        bound = width**-0.5
        self.kernel = nnx.Param(jax.random.uniform(rngs.params(), (width, features), jnp.float32, -bound, bound))
        self.bias = nnx.Param(jax.random.uniform(rngs.params(), (features,), jnp.float32, -bound, bound))
        self.dtype = dtype

    def init_carry(self, batch: int) -> jax.Array:
        """The inputs before the first step: zeros [B, W-1, D]."""
        width, features = self.kernel.shape
        return jnp.zeros((batch, width - 1, features), self.dtype)

    def __call__(
        self,
        x_BTD: jax.Array,
        carry_BWD: jax.Array | None = None,
        *,
        reset: jax.Array | None = None,
        lengths: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """y [B, T, D] and the carry for the next call; see `ops.conv.causal_conv`."""
        (x_BTD,) = checked("CausalConv", {"D": self.kernel.shape[1]}, x_BTD=x_BTD)
        return causal_conv(
            x_BTD.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            self.bias[...].astype(self.dtype),
            carry_BWD=carry_BWD,
            reset_BT=reset,
            lengths_B=lengths,
        )
