"""Models of what is normal in a series: a forecaster, an autoencoder of windows, and a constant as reference.

Each maps the inputs of windows [B, T, F] to what it expects, [B, T, C], in units of the scale of each row.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, PositiveInt
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.models.stack import Stack
from xlstm_jax.nn import linear, small_init


@dataclasses.dataclass(frozen=True)
class DetectorConfig(StackConfig, name="model"):
    """A model of what is normal."""

    # forecaster: each row from those before it; autoencoder: each row from a code of its window; none: a constant
    kind: Literal["forecaster", "autoencoder", "none"] = "forecaster"
    code: PositiveInt = 16  # numbers that an autoencoder keeps of a window
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the input layer; 0: sqrt(2 / (5 features))


class Forecaster(SequenceModel):
    """Expects each row from what is read at it, which comes from rows before it.

    Args:
        config: of the stack and of the parts around it.
        inputs: F, numbers read at a row.
        channels: C, numbers expected at a row.
    """

    def __init__(self, config: DetectorConfig, inputs: int, channels: int, *, rngs: nnx.Rngs):
        super().__init__(
            config,
            lambda rngs: _input(config, inputs, rngs),
            lambda rngs: Head(config.features, channels, dtype=config.dtype, rngs=rngs),
            rngs=rngs,
        )

    def expected(self, inputs_BTF: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """[B, T, C], at least float32. Dropout is active if a `key` is given."""
        return self.unroll(inputs_BTF, key=key)[0]


class Autoencoder(nnx.Module):
    """Expects a window to be what its code says: EncDec-AD (Malhotra et al. 2016, arXiv 1607.00148), with any blocks.

    The features of an encoding stack at the last row become a code of few numbers. A decoding stack reads the code
    again at each step, with a learned vector for the step, and expects the rows from the last to the first.

    Args:
        config: of both stacks and of the parts around them.
        inputs: F, numbers read at a row.
        channels: C, numbers expected at a row.
        window: T, rows of a window.
    """

    def __init__(self, config: DetectorConfig, inputs: int, channels: int, window: int, *, rngs: nnx.Rngs):
        init, dtype = small_init(config.features), jnp.dtype(config.dtype)
        self.embedding = _input(config, inputs, rngs)
        self.encoder = Stack(config, rngs=rngs)
        sizes = {"bias": True, "dtype": dtype, "rngs": rngs}
        self.squeeze = linear(config.features, config.code, init, axes=("embed", None), **sizes)
        self.expand = linear(config.code, config.features, small_init(config.code), axes=(None, "embed"), **sizes)
        self.step = nnx.Param(init(rngs.params(), (window, config.features), jnp.float32), decay=False)
        self.decoder = Stack(config, rngs=rngs)
        self.head = Head(config.features, channels, dtype=config.dtype, rngs=rngs)

    def expected(self, inputs_BTF: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """[B, T, C], at least float32. Dropout is active if a `key` is given."""
        encode, decode = (None, None) if key is None else jax.random.split(key)
        x_BTD, _ = self.encoder(self.embedding(inputs_BTF), key=encode)
        code_BD = self.expand(self.squeeze(x_BTD[:, -1]))
        y_BTD = code_BD[:, None] + self.step[...].astype(code_BD.dtype)[None]
        y_BTD, _ = self.decoder(y_BTD, key=decode)
        return jnp.flip(self.head(y_BTD), axis=1)


class Constant(nnx.Module):
    """Expects the same of every row, a learned number per channel: what is left to judge are the values themselves."""

    def __init__(self, channels: int):
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))

    def expected(self, inputs_BTF: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """[B, T, C]."""
        del key
        return jnp.broadcast_to(self.bias[...], (*inputs_BTF.shape[:2], self.bias.shape[0]))


Detector = Forecaster | Autoencoder | Constant


def expected_of_series(model: Detector, inputs_BTF: jax.Array, window: int, stride: int) -> jax.Array:
    """What a model expects of whole series [B, T, C]: windows every `stride` rows, of which the last rows count.

    Before the first row the windows hold zeros, as in training.
    """
    rows, time, width = inputs_BTF.shape
    count, before = math.ceil(time / stride), window - stride
    padded_BTF = jnp.pad(inputs_BTF, ((0, 0), (before, count * stride - time), (0, 0)))
    at_KW = jnp.arange(count)[:, None] * stride + jnp.arange(window)[None]
    windows_BKWF = padded_BTF[:, at_KW]
    expected = model.expected(windows_BKWF.reshape(rows * count, window, width))
    return expected[:, before:].reshape(rows, count * stride, -1)[:, :time]


def _input(config: DetectorConfig, inputs: int, rngs: nnx.Rngs) -> Features:
    return Features(inputs, config.features, std=config.embedding_std, dtype=config.dtype, rngs=rngs)
