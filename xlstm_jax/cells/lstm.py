"""Dense LSTM cells: one set of equations, and a `Wiring` that selects the variant."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, RecurrentConfig, SplitCell, block_diagonals, gate_weights
from xlstm_jax.config import FiniteFloat


@dataclasses.dataclass(frozen=True)
class Wiring:
    """The options that distinguish the LSTM variants.

    `gates`: the pre-activations, in their order in the weights: i, f, z (the candidate), o. An absent gate is 1;
    `coupled` sets an absent f to 1 - i. `peepholes`: i and f see c, o sees c'. `squash_in` is applied to z,
    `squash_out` to c'.
    """

    gates: str = "ifzo"
    coupled: bool = False
    peepholes: bool = False
    squash_in: Callable[[jax.Array], jax.Array] = jnp.tanh
    squash_out: Callable[[jax.Array], jax.Array] = jnp.tanh

    @property
    def sigmoids(self) -> str:
        """The sigmoid gates: all but z."""
        return self.gates.replace("z", "")


@dataclasses.dataclass(frozen=True)
class LSTMConfig(RecurrentConfig):
    """`forget_bias`: initial bias of the forget gate (Gers et al. 1999; Jozefowicz et al. 2015 for 1)."""

    forget_bias: FiniteFloat = 1.0


class LSTMCarry(NamedTuple):
    c: jax.Array  # [B, F] cell state
    h: jax.Array  # [B, F] output
    output_field = "h"


def memory(
    wiring: Wiring, pre: dict[str, jax.Array], c: jax.Array, peepholes: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """c', h' and the gates' activations, from pre-activations by letter and the cell state, all of the same shape.

        i, f, o = sigmoid(pre)      z = squash_in(pre)      c' = f c + i z      h' = o squash_out(c')

    `peepholes` [gates, ...], in the wiring's order, multiply c (c' for o). The products are added to the
    pre-activations.
    """
    if wiring == Wiring() and peepholes is None:
        return *_standard_memory(*(pre[letter] for letter in "ifzo"), c), {}
    weights = {} if peepholes is None else dict(zip(wiring.sigmoids, peepholes, strict=True))

    def gate(letter: str, seen: jax.Array) -> jax.Array | None:
        if letter not in wiring.gates:
            return None
        total = pre[letter]
        if letter in weights:
            total = total + jnp.broadcast_to(weights[letter].astype(seen.dtype), seen.shape) * seen
        return jax.nn.sigmoid(total)

    def scaled(gate: jax.Array | None, x: jax.Array) -> jax.Array:
        return x if gate is None else gate * x

    i, f = gate("i", c), gate("f", c)
    if wiring.coupled:
        f = 1 - i
    c = scaled(f, c) + scaled(i, wiring.squash_in(pre["z"]))
    o = gate("o", c)
    return c, scaled(o, wiring.squash_out(c)), {"i": i, "f": f, "o": o}


@jax.custom_jvp
def _standard_memory(i: jax.Array, f: jax.Array, z: jax.Array, o: jax.Array, c: jax.Array):
    """`memory` of the standard LSTM: c' and h'."""
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(z)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


@_standard_memory.defjvp
def _standard_memory_jvp(primals, tangents):
    # One factor for each input, so the backward pass saves 6 arrays per step; plain autodiff saves 12.
    i, f, o = (jax.nn.sigmoid(primals[n]) for n in (0, 1, 3))
    z, c = jnp.tanh(primals[2]), primals[4]
    di, df, dz, do, dc = tangents
    after = f * c + i * z
    squashed = jnp.tanh(after)
    dafter = f * dc + (z * i * (1 - i)) * di + (c * f * (1 - f)) * df + (i * (1 - z * z)) * dz
    dh = (squashed * o * (1 - o)) * do + (o * (1 - squashed * squashed)) * dafter
    return (after, o * squashed), (dafter, dh)


@CELLS.register("lstm", "lstm_np")
class LSTM(SplitCell):
    """LSTM with a forget gate, without peepholes, with one bias per gate.

        i, f, o = sigmoid(x W_x + h W_h + b)     z = tanh(x W_x + h W_h + b)     each with its own W_x, W_h, b
        c' = f c + i z                           h' = o tanh(c')                 y = h'

    The order is i, f, z, o along the last axis of w_x [D, 4F], w_h [F, 4F], b [4F]. The forget gate's bias starts at 1.
    Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 1999 (forget gate).

    The variants subclass it with another `wiring`. `p` [gates but z, F] holds the peepholes.
    """

    additive = True
    Config = LSTMConfig
    wiring: ClassVar[Wiring] = Wiring()
    inner = ("p",)

    @classmethod
    def init(cls, key: jax.Array, config: LSTMConfig) -> CellParams:
        weights = gate_weights(key, config, len(cls.wiring.gates))
        return CellParams(config, cls.start(weights, config, config.features))

    @classmethod
    def start(cls, weights: dict[str, jax.Array], config: LSTMConfig, units: int) -> dict[str, jax.Array]:
        """`weights` with the forget gate's bias initialised, and with peepholes at zero if the wiring has them."""
        bias = getattr(config, "forget_bias", 0.0)
        # With coupled gates f = 1 - i, so the bias of i gets the opposite sign.
        letter, value = ("i", -bias) if cls.wiring.coupled else ("f", bias)
        if config.bias and letter in cls.wiring.gates:
            first = cls.wiring.gates.index(letter) * units
            weights["b"] = weights["b"].at[first : first + units].set(value)
        if cls.wiring.peepholes:
            weights["p"] = jnp.zeros((len(cls.wiring.sigmoids), units), jnp.float32)
        return weights

    @classmethod
    def init_carry(cls, config: LSTMConfig, batch_shape: tuple[int, ...]) -> LSTMCarry:
        c, h = (jnp.zeros((*batch_shape, config.features), jnp.float32) for _ in range(2))
        return LSTMCarry(c=c, h=h)

    @classmethod
    def self_weights(cls, params: CellParams) -> jax.Array | None:
        # Layer norm, a projection and gates that see each other mix features; peepholes do not.
        return block_diagonals(params["w_h"]) if cls.inner == ("p",) and cls.additive else None

    @classmethod
    def by_letter(cls, x: jax.Array) -> dict[str, jax.Array]:
        """Splits [..., G F] into the wiring's gates, by letter."""
        return dict(zip(cls.wiring.gates, jnp.split(x, len(cls.wiring.gates), axis=-1), strict=True))

    @classmethod
    def update(cls, inner: CellParams, carry: LSTMCarry, u: jax.Array, v: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        pre = cls.by_letter(u.astype(carry.c.dtype) + v)
        c, h, _ = memory(cls.wiring, pre, carry.c, inner.get("p"))
        return LSTMCarry(c=c, h=h), h
