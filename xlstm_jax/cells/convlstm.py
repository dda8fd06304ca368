"""ConvLSTM: an LSTM over spatial maps, with convolutions in place of matrix products."""

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, add_bias
from xlstm_jax.cells.lstm import LSTM, LSTMCarry
from xlstm_jax.checks import check_config, check_sizes
from xlstm_jax.config import FiniteFloat
from xlstm_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ConvLSTMConfig:
    """`spatial_shape`: the size of the map along its 1, 2 or 3 axes; `kernel_size`: kernel taps along each axis."""

    in_features: int
    features: int
    spatial_shape: tuple[int, ...]
    kernel_size: int = 3
    peepholes: bool = False
    bias: bool = True
    forget_bias: FiniteFloat = 1.0

    def __post_init__(self):
        check_config(self)
        if not isinstance(self.spatial_shape, Iterable) or not 1 <= len(tuple(self.spatial_shape)) <= 3:
            raise UsageError(
                f"ConvLSTMConfig spatial_shape {self.spatial_shape!r} is not allowed; must be a tuple of 1 to 3 sizes"
            )
        object.__setattr__(self, "spatial_shape", tuple(self.spatial_shape))
        check_sizes("ConvLSTMConfig", **{f"spatial_shape[{n}]": size for n, size in enumerate(self.spatial_shape)})


def _convolve(x: jax.Array, kernel: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Convolution of x [..., *S, D] and kernel [*taps, D, E], zero-padded at the edges: [..., *S, E] in `dtype`."""
    axes = kernel.ndim - 2
    spatial = "XYZ"[:axes]
    flat = x.reshape(-1, *x.shape[-axes - 1 :]).astype(kernel.dtype)
    y = jax.lax.conv_general_dilated(
        flat,
        kernel,
        window_strides=(1,) * axes,
        padding="SAME",
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )
    return y.astype(dtype).reshape(*x.shape[:-1], kernel.shape[-1])


@CELLS.register("convlstm")
class ConvLSTM(LSTM):
    """`lstm` over maps with 1 to 3 spatial axes S. Convolutions, zero-padded to keep the size, replace the products.

        i, f, o = sigmoid(x * W_x + h * W_h + b)     z = tanh(x * W_x + h * W_h + b)     (* convolves)
        c' = f c + i z                               h' = o tanh(c')                     y = h'

    With `peepholes`, i and f add p c and o adds p c', with one weight per position and feature: p [3, *S, F]. x is
    [B, T, *S, D], the carry's leaves are [B, *S, F]; w_x [*taps, D, 4F], w_h [*taps, F, 4F], b [4F], order i, f, z, o.
    Shi et al. 2015 (arXiv 1506.04214), equation 3.
    """

    Config = ConvLSTMConfig

    @classmethod
    def init(cls, key: jax.Array, config: ConvLSTMConfig) -> CellParams:
        key_x, key_h = jax.random.split(key)
        init, taps = jax.nn.initializers.lecun_normal(), (config.kernel_size,) * len(config.spatial_shape)
        weights = {
            "w_x": init(key_x, (*taps, config.in_features, 4 * config.features), jnp.float32),
            "w_h": init(key_h, (*taps, config.features, 4 * config.features), jnp.float32),
        }
        if config.bias:
            weights["b"] = jnp.zeros((4 * config.features,), jnp.float32)
        weights = cls.start(weights, config, config.features)
        if config.peepholes:
            weights["p"] = jnp.zeros((3, *config.spatial_shape, config.features), jnp.float32)
        return CellParams(config, weights)

    @classmethod
    def init_carry(cls, config: ConvLSTMConfig, batch_shape: tuple[int, ...]) -> LSTMCarry:
        shape = (*batch_shape, *config.spatial_shape, config.features)
        return LSTMCarry(c=jnp.zeros(shape, jnp.float32), h=jnp.zeros(shape, jnp.float32))

    @staticmethod
    def input_sizes(config: ConvLSTMConfig) -> dict[str, int]:
        return dict(zip("XYZ", config.spatial_shape, strict=False)) | {"D": config.in_features}

    @classmethod
    def project(cls, params: CellParams, x_BTD: jax.Array) -> jax.Array:
        u = _convolve(x_BTD, params["w_x"], x_BTD.dtype)
        return add_bias(u, params["b"]) if "b" in params else u

    @classmethod
    def self_weights(cls, params: CellParams) -> None:
        return None

    @classmethod
    def recur(cls, params: CellParams, h: jax.Array) -> jax.Array:
        return _convolve(h, params["w_h"], h.dtype)
