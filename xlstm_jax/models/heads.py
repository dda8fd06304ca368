"""Heads that map a stack's features to outputs, at each step or once per sequence."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_choice, check_dtype, check_sizes, checked
from xlstm_jax.nn import small_init, softcap
from xlstm_jax.shapes import padding_mask, state_dtype, zero_padding

Pooling = Literal["last", "mean", "max", "ends"]


class Head(nnx.Linear):
    """A linear map without bias, computed in `dtype`. Outputs are at least float32.

    Args:
        features: D.
        outputs: A, such as the vocabulary size or the number of classes.
        cap: soft cap of the outputs, by a tanh; 0: none.
        dtype: dtype of the product.
    """

    def __init__(self, features: int, outputs: int, *, cap: float = 0.0, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        check_sizes("Head", features=features, outputs=outputs)
        init, dtype = small_init(features), check_dtype("Head", dtype)
        super().__init__(features, outputs, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs)
        self.kernel.set_metadata(axes=("embed", "vocab"))
        self.cap = cap

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps features [..., D] to outputs [..., A]."""
        return capped(super().__call__(x), self.cap)


def capped(outputs: jax.Array, cap: float) -> jax.Array:
    """Outputs in at least float32, with soft cap `cap` unless it is 0."""
    return softcap(outputs.astype(state_dtype(outputs)), cap)


def pooled(x_BTD: jax.Array, lengths: jax.Array | None, pooling: Pooling) -> jax.Array:
    """One vector per sequence, [B, D], or [B, 2 D] with "ends".

    Args:
        x_BTD: features of all steps.
        lengths: [B] ints, for right padding; None: all rows have T steps. The result is zero for length 0.
        pooling: "last" (step length - 1), "mean" or "max" over the steps, or "ends" (the last step and the first, for
            stacks that read both ways).
    """
    check_choice("pooling", pooling, Pooling)
    x_BTD, lengths = checked("pooled", x_BTD=x_BTD, lengths_B=lengths)
    if lengths is None:
        lengths = jnp.full((x_BTD.shape[0],), x_BTD.shape[1], jnp.int32)
    x_BTD, count_B1 = zero_padding(x_BTD, lengths), lengths[:, None]
    if pooling == "mean":
        wide = x_BTD.astype(state_dtype(x_BTD))
        return (jnp.sum(wide, axis=1) / jnp.maximum(count_B1, 1).astype(wide.dtype)).astype(x_BTD.dtype)
    if pooling == "max":
        lowest = jnp.where(padding_mask(lengths, x_BTD.shape[1])[..., None], -jnp.inf, 0).astype(x_BTD.dtype)
        return jnp.where(count_B1 > 0, jnp.max(x_BTD + lowest, axis=1, initial=-jnp.inf), 0)
    last_B11 = jnp.maximum(lengths - 1, 0)[:, None, None]
    last_BD = jnp.take_along_axis(x_BTD, last_B11, axis=1)[:, 0]
    return last_BD if pooling == "last" else jnp.concatenate([last_BD, x_BTD[:, 0]], axis=-1)
