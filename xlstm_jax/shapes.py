"""The legend of axis letters. A name's suffix spells its axes in order: `q_BTHK` is [batch, time, heads, key features].

    B  batch            T  time                 D  model features (sLSTM: features of one head)
    H  heads            K  query/key features of a head         V  value features of a head
    N  chunks           L  chunk length         G  gates (i, f, z, o)
    F  feed-forward or layer features           W  taps of a convolution
    A  vocabulary (alphabet)

Layout is batch, time, heads, features, as in `jax.nn.dot_product_attention`; `_TB...` marks time-major arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Tokens = Int[Array, "B T"]
Logits = Float[Array, "B T A"]
Features = Float[Array, "B T D"]
Queries = Float[Array, "B T H K"]
Values = Float[Array, "B T H V"]
Gates = Float[Array, "B T H"]
Resets = Bool[Array, "B T"]
Lengths = Int[Array, " B"]


def state_dtype(*arrays: jax.Array | jnp.dtype) -> jnp.dtype:
    """Dtype of gates, stabilisers and states: the arrays' own, at least float32 (float64 stays float64)."""
    with jax.numpy_dtype_promotion("standard"):  # strict mode guards against accidents; this one is meant
        return jnp.promote_types(jnp.result_type(*arrays), jnp.float32)


def steps_within(lengths_B: Lengths, time: int) -> Lengths:
    """The steps that are real of `time` of them, int32: all where a length is above that, none where it is negative."""
    return jnp.clip(lengths_B.astype(jnp.int32), 0, time)


def padding_mask(lengths_B: Lengths, time: int) -> Resets:
    """[B, T] true where a step lies behind its sequence's end: t >= length."""
    return jnp.arange(time, dtype=jnp.int32)[None, :] >= lengths_B.astype(jnp.int32)[:, None]


def zero_padding(x_BT: jax.Array, lengths_B: Lengths | None) -> jax.Array:
    """x [B, T, ...] with zeros behind each sequence's end: not even a NaN there gets through, or its gradient."""
    if lengths_B is None:
        return x_BT
    padding_BT = padding_mask(lengths_B, x_BT.shape[1])
    return jnp.where(padding_BT.reshape(*padding_BT.shape, *(1,) * (x_BT.ndim - 2)), jnp.zeros_like(x_BT), x_BT)


def select(flag: jax.Array, new: Any, old: Any) -> Any:
    """Where flag [B] is true take `new`, else `old`, leaf by leaf [B, ...]; the flag's axes are a leaf's first ones."""

    def choose(a, b):
        return jnp.where(flag.reshape(flag.shape + (1,) * (b.ndim - flag.ndim)), a, b)

    return jax.tree.map(choose, new, old)
