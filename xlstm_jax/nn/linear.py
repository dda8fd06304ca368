"""Dense linear maps with the initialisations of the xLSTM paper, and block-diagonal ones."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_dtype, check_sizes, checked
from xlstm_jax.errors import UsageError

# Small blocks are applied as dense tiles of about this width. Forward and backward on CPU this takes a third of the
# time of one dense product, and a third less than products of 4 x 4 blocks written out element by element.
TILE = 32


def small_init(features: int) -> nnx.Initializer:
    """Normal with standard deviation sqrt(2 / (5 D)) for model width D (Nguyen & Salazar 2019)."""
    return nnx.initializers.normal(math.sqrt(2 / (5 * features)))


def wang_init(features: int, num_blocks: int) -> nnx.Initializer:
    """Normal with standard deviation 2 / (NB sqrt(D)), for the last linear map of a residual branch."""
    return nnx.initializers.normal(2 / (num_blocks * math.sqrt(features)))


def linear(
    in_features: int,
    out_features: int,
    kernel_init: nnx.Initializer,
    *,
    bias: bool = False,
    bias_init: nnx.Initializer = nnx.initializers.zeros,
    axes: tuple[str | None, str | None] = ("embed", "inner"),
    dtype: jnp.dtype,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A dense map with float32 parameters, computed in `dtype`.

    `axes` are the logical axes of the kernel (`xlstm_jax.sharding.AXES`): ("embed", "inner") for a map from the model's
    width, ("inner", "embed") for a map back to it.
    """
    check_sizes("linear", in_features=in_features, out_features=out_features)
    check_dtype("linear", dtype)
    init = {"kernel_init": kernel_init, "bias_init": bias_init}
    layer = nnx.Linear(in_features, out_features, use_bias=bias, dtype=dtype, rngs=rngs, **init)
    layer.kernel.set_metadata(axes=axes)
    return layer


class Headwise(nnx.Module):
    """Block-diagonal map: y[block n] = x[block n] W_n, with square blocks of equal size and no bias.

    Args:
        features: width of x and y.
        block_size: width of a block; must divide `features`.
    """

    def __init__(
        self, features: int, block_size: int, kernel_init: nnx.Initializer, *, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        check_sizes("Headwise", features=features, block_size=block_size)
        check_dtype("Headwise", dtype)
        if features % block_size:
            raise UsageError(f"block_size {block_size} does not divide features {features}")
        blocks = features // block_size
        self.kernel = nnx.Param(kernel_init(rngs.params(), (blocks, block_size, block_size), jnp.float32))
        self.dtype = dtype
        self.per_tile = _largest_divisor(blocks, max(TILE // block_size, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., features] -> [..., features]."""
        blocks, size, _ = self.kernel.shape
        (x,) = checked("Headwise", {"D": blocks * size}, **{"x_...D": x})
        tiles, width = blocks // self.per_tile, self.per_tile * size
        kernel = self.kernel[...].astype(self.dtype).reshape(tiles, self.per_tile, size, 1, size)
        eye = jnp.eye(self.per_tile, dtype=self.dtype).reshape(1, self.per_tile, 1, self.per_tile, 1)
        dense = (kernel * eye).reshape(tiles, width, width)
        x = x.astype(self.dtype)
        if tiles == 1:
            return x @ dense[0]
        y = jnp.einsum("...td,tde->...te", x.reshape(*x.shape[:-1], tiles, width), dense)
        return y.reshape(x.shape)


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)
