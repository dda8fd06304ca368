"""Captions of pictures: a convolutional network that reads a picture for a decoder, and a baseline."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_dtype, check_sizes, checked
from xlstm_jax.config import Bounds
from xlstm_jax.errors import UsageError
from xlstm_jax.models.heads import Pooling
from xlstm_jax.models.seq2seq import DecoderConfig
from xlstm_jax.nn import BatchNorm, small_init
from xlstm_jax.shapes import zero_padding

MOST_HALVINGS = 10


@dataclasses.dataclass(frozen=True)
class CaptionerConfig(DecoderConfig, name="model"):
    """A convolutional network, and a decoder that writes captions."""

    kind: Literal["decoder", "majority"] = "decoder"  # majority: a baseline with one caption for all pictures
    reads: bool = True  # False: zeros take the place of the picture
    # Times that the picture's sides are halved. Each doubles the numbers at a place, up to `features` after the last.
    halvings: Annotated[int, Bounds(least=1, most=MOST_HALVINGS)] = 3

    @property
    def summary(self) -> Pooling:
        return "max"


class PictureEncoder(nnx.Module):
    """A grid of features: n convolutions that halve the sides, one that does not, and a learned position.

        x_i = relu(norm(conv_i(x_i-1)))  for i = 1 .. n + 1        x = x_n+1 + position

    Kernels are 3 x 3; x_i has D / 2^(n + 1 - i) numbers at each place, at least 8; the norm is a batch norm. A
    decoder that attends to the places is that of Xu et al. 2015 (arXiv 1502.03044); the largest value of each feature
    makes the one vector of Vinyals et al. 2015 (arXiv 1411.4555). Both papers have a pretrained network in its place.
    Implements `encoders.Encoder`.

    Args:
        height, width, channels: of the pictures.
        features: D.
        halvings: n.
        dtype: of the outputs.

    Raises:
        UsageError: the pictures are too small to be halved so often.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        features: int,
        halvings: int,
        *,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        sizes = {"height": height, "width": width, "channels": channels, "features": features, "halvings": halvings}
        check_sizes("PictureEncoder", **sizes)
        dtype = check_dtype("PictureEncoder", dtype)
        if min(height, width) < 2**halvings:
            raise UsageError(f"model.halvings {halvings} is too many for pictures of {height} x {width}; lower it")
        self.sizes = ("H", height), ("W", width), ("C", channels)
        widths = [channels, *(max(8, features >> n) for n in range(halvings, 0, -1)), features]
        options = {"use_bias": False, "kernel_init": nnx.initializers.he_normal(), "dtype": dtype, "rngs": rngs}
        self.convolutions = nnx.List(
            nnx.Conv(fan_in, fan_out, (3, 3), strides=2 if n < halvings else 1, **options)
            for n, (fan_in, fan_out) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nnx.List(BatchNorm(conv.out_features, dtype=dtype, rngs=rngs) for conv in self.convolutions)
        places = -(-height // 2**halvings) * -(-width // 2**halvings)
        self.position = nnx.Param(small_init(features)(rngs.params(), (places, features), jnp.float32), decay=False)

    def __call__(
        self, pictures_BHWC: jax.Array, lengths: jax.Array | None = None, key: Any = None
    ) -> tuple[jax.Array, None]:
        """Features [B, S, D] of the places in raster order, from numbers in 0 to 1; no carry."""
        pictures_BHWC, lengths = checked(
            "PictureEncoder", dict(self.sizes), pictures_BHWC=pictures_BHWC, lengths_B=lengths
        )
        x_BHWF = pictures_BHWC
        for conv, norm in zip(self.convolutions, self.norms, strict=True):
            x_BHWF = conv(x_BHWF)
            x_BSF = x_BHWF.reshape(x_BHWF.shape[0], -1, conv.out_features)
            x_BHWF = jax.nn.relu(norm(x_BSF, training=key is not None)).reshape(x_BHWF.shape)
        x_BSD = x_BHWF.reshape(x_BSF.shape)
        x_BSD = x_BSD + jnp.broadcast_to(self.position[...].astype(x_BSD.dtype), x_BSD.shape)
        return zero_padding(x_BSD, lengths), None


class MajorityCaption(nnx.Module):
    """A baseline: one caption for all pictures. Its loss is that of the frequencies of words.

    Args:
        caption_T: tokens of the caption, and the one after it.
        vocab_size: A.
    """

    def __init__(self, config: CaptionerConfig, caption_T: Sequence[int], vocab_size: int):
        self.config, self.caption = config, tuple(map(int, caption_T))  # a tuple: models have to be hashable
        self.head = nnx.Param(jnp.zeros((vocab_size,), jnp.float32))

    def encode(self, pictures_BHWC: jax.Array, lengths: Any = None, key: Any = None) -> None:
        """There is nothing to read."""
        del pictures_BHWC, lengths, key

    def unroll(self, tokens_BT: jax.Array, carry: None, *, lengths=None, key=None) -> tuple[jax.Array, jax.Array]:
        """Logits [B, T, A], the same everywhere, and no attention, [B, T, 0]."""
        del carry, lengths, key
        rows, time = tokens_BT.shape
        logits_BTA = jnp.broadcast_to(self.head[...], (rows, time, self.head.shape[0]))
        return logits_BTA, jnp.zeros((rows, time, 0), jnp.float32)

    def captions(self, rows: int) -> jax.Array:
        """The caption's tokens, [rows, T]."""
        return jnp.broadcast_to(jnp.array(self.caption, jnp.int32), (rows, len(self.caption)))
