"""Input layers that map tokens, real numbers, both, or images to features [B, T, D] for a stack."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.checks import check_dtype, check_sizes, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import linear, small_init
from xlstm_jax.shapes import zero_padding


class Input(Protocol):
    """Maps the inputs of all steps to features, given the rows' lengths. Padding may have any values."""

    def __call__(self, inputs: Any, lengths: jax.Array | None = None) -> jax.Array: ...


def _init(std: float, features: int) -> nnx.Initializer:
    return nnx.initializers.normal(std) if std else small_init(features)


class Tokens(nnx.Embed):
    """An embedding: x_t = E[token_t].

    Args:
        vocab_size: A, number of tokens.
        features: D.
        std: initial standard deviation; 0: sqrt(2 / (5 D)).
        dtype: of the output.
    """

    def __init__(self, vocab_size: int, features: int, *, std: float = 0.0, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        check_sizes("Tokens", vocab_size=vocab_size, features=features)
        init = _init(std, features)
        super().__init__(vocab_size, features, embedding_init=init, dtype=check_dtype("Tokens", dtype), rngs=rngs)
        self.embedding.set_metadata(axes=("vocab", "embed"))

    def __call__(self, tokens_BT: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Maps tokens [B, T] to [B, T, D]; see `known_tokens` for tokens outside the vocabulary."""
        tokens_BT, lengths = checked("Tokens", tokens_BT=tokens_BT, lengths_B=lengths)
        return super().__call__(known_tokens(tokens_BT, self.num_embeddings, lengths))


class Features(nnx.Linear):
    """A linear map of real numbers: x_t = W u_t + b.

    The bias has the initialisation of W. With a zero bias, a norm after it would hide the magnitude of a single input
    number, and gradients would explode at 0.

    Args:
        in_features: F, numbers per step.
        features: D.
        std: initial standard deviation; 0: sqrt(2 / (5 D)).
        dtype: of the output.
    """

    def __init__(self, in_features: int, features: int, *, std: float = 0.0, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        check_sizes("Features", in_features=in_features, features=features)
        init = _init(std, features)
        inits = {"kernel_init": init, "bias_init": init}
        super().__init__(in_features, features, dtype=check_dtype("Features", dtype), rngs=rngs, **inits)
        self.kernel.set_metadata(axes=(None, "embed"))

    def __call__(self, u_BTF: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Maps real numbers [B, T, F] to [B, T, D]."""
        u_BTF, lengths = checked("Features", {"F": self.in_features}, u_BTF=u_BTF, lengths_B=lengths)
        return super().__call__(zero_padding(u_BTF, lengths))


class TokensAndFeatures(NamedTuple):
    """The input of `Both`."""

    tokens_BT: jax.Array
    u_BTF: jax.Array


class Both(nnx.Module):
    """For a token and real numbers at each step: the sum of the embedding and the linear map."""

    def __init__(self, tokens: Tokens, numbers: Features):
        self.tokens, self.numbers = tokens, numbers

    def __call__(self, inputs: TokensAndFeatures, lengths: jax.Array | None = None) -> jax.Array:
        """Maps tokens [B, T] and real numbers [B, T, F] to [B, T, D]."""
        return self.tokens(inputs.tokens_BT, lengths) + self.numbers(inputs.u_BTF, lengths)


class Patches(nnx.Module):
    """Images as sequences of square patches in raster order: a linear map of each patch plus a learned position.

    As in Vision-LSTM (Alkin et al. 2024, arXiv 2406.04303) and the Vision Transformer.

    Args:
        height, width: size of the images, multiples of `patch`.
        channels: channels of the images.
        patch: side of a patch in pixels.
        features: D.
        dtype: of the output.
    """

    def __init__(
        self, height: int, width: int, channels: int, patch: int, features: int, *, dtype: Any = jnp.float32, rngs
    ):
        check_sizes("Patches", height=height, width=width, channels=channels, patch=patch, features=features)
        if height % patch or width % patch:
            raise UsageError(f"patch {patch} does not divide images of {height} x {width}; give a divisor of both")
        self.patch, self.sizes, init = patch, {"H": height, "W": width, "C": channels}, small_init(features)
        axes = {"axes": (None, "embed"), "dtype": check_dtype("Patches", dtype), "rngs": rngs}
        self.map = linear(patch * patch * channels, features, init, bias=True, **axes)
        count = (height // patch) * (width // patch)
        self.position = nnx.Param(init(rngs.params(), (count, features), jnp.float32), decay=False)

    def __call__(self, images_BHWC: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Maps real images [B, H, W, C] to [B, T, D], T = H W / patch^2."""
        images_BHWC, lengths = checked("Patches", self.sizes, images_BHWC=images_BHWC, lengths_B=lengths)
        rows, height, width, channels = images_BHWC.shape
        high, wide = height // self.patch, width // self.patch
        cut = images_BHWC.reshape(rows, high, self.patch, wide, self.patch, channels).swapaxes(2, 3)
        patches_BTF = zero_padding(cut.reshape(rows, high * wide, -1), lengths)
        x_BTD = self.map(patches_BTF)
        return x_BTD + jnp.broadcast_to(self.position[...].astype(x_BTD.dtype), x_BTD.shape)


def of_each(
    read: Callable[[jax.Array, jax.Array], jax.Array], parts_BTL: jax.Array, lengths_BT: jax.Array
) -> jax.Array:
    """[B, T, D]: what `read` makes of the sequence [L] at each step, such as the letters of a word.

    Args:
        read: maps N sequences [N, L] and their lengths [N] to [N, D].
        parts_BTL: the sequences.
        lengths_BT: their lengths.
    """
    batch, time, most = parts_BTL.shape
    y_ND = read(parts_BTL.reshape(batch * time, most), lengths_BT.reshape(batch * time))
    return y_ND.reshape(batch, time, -1)


def replaced(inputs: Any, unknown: int, rate: float, key: jax.Array | None) -> Any:
    """The inputs, a random share `rate` of their tokens `unknown`; none without a key.

    Args:
        inputs: tokens [B, T], or a named tuple whose first field has them.
    """
    if key is None or not rate:
        return inputs
    if isinstance(inputs, tuple):
        return inputs._make((replaced(inputs[0], unknown, rate, key), *inputs[1:]))
    drop_BT = jax.random.bernoulli(key, jnp.float32(rate), inputs.shape)
    return jnp.where(drop_BT, jnp.asarray(unknown, inputs.dtype), inputs)


def known_tokens(tokens_BT: jax.Array, vocab_size: int, lengths_B: jax.Array | None = None) -> jax.Array:
    """Checks that tokens are in 0 to vocab_size - 1 outside of jit, and clips them inside.

    Inside jit the values are unknown; without clipping, a lookup would return NaN above the vocabulary and count from
    its end below 0. Tokens in the padding after `lengths_B` may have any value.

    Raises:
        UsageError: a token is outside the vocabulary; the message gives its position.
    """
    most = min(vocab_size - 1, jnp.iinfo(tokens_BT.dtype).max)
    given = (tokens_BT,) if lengths_B is None else (tokens_BT, lengths_B)
    if all(not isinstance(a, jax.core.Tracer) and getattr(a, "is_fully_addressable", True) for a in given):
        values, *lengths = map(np.asarray, given)
        outside = wrong = (values < 0) | (values >= vocab_size)
        if lengths:
            wrong = outside & (np.arange(values.shape[1]) < lengths[0][:, None])
        if wrong.any():
            place = (*map(int, np.argwhere(wrong)[0]),)
            raise UsageError(
                f"token {values[place]} at {place} is outside the vocabulary; must be 0 to {vocab_size - 1}"
            )
        if not outside.any():
            return tokens_BT
    return jnp.clip(tokens_BT, 0, most)
