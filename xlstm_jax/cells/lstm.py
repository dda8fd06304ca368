"""Long short-term memory in its dense forms: one set of equations, and a wiring that tells one cell from another."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import (
    CELLS,
    CellParams,
    RecurrentConfig,
    SplitCell,
    block_diagonals,
    gate_weights,
)
from xlstm_jax.config import FiniteFloat


@dataclasses.dataclass(frozen=True)
class Wiring:
    """What tells one LSTM from another.

    `gates`: the pre-activations there are, in the order they stand in the weights: i, f, z (the candidate), o. A gate
    that is not among them is 1; `coupled` makes an absent f 1 - i. `peepholes`: i and f see c, o sees c'. `squash_in`
    acts on z, `squash_out` on c'.
    """

    gates: str = "ifzo"
    coupled: bool = False
    peepholes: bool = False
    squash_in: Callable[[jax.Array], jax.Array] = jnp.tanh
    squash_out: Callable[[jax.Array], jax.Array] = jnp.tanh

    @property
    def sigmoids(self) -> str:
        """The gates proper: all but z."""
        return self.gates.replace("z", "")


@dataclasses.dataclass(frozen=True)
class LSTMConfig(RecurrentConfig):
    """`forget_bias` is where the forget gate's bias starts (Gers et al. 1999; Jozefowicz et al. 2015 for 1)."""

    forget_bias: FiniteFloat = 1.0


class LSTMCarry(NamedTuple):
    c: jax.Array  # [B, F] cell state
    h: jax.Array  # [B, F] output
    output_field = "h"


def memory(
    wiring: Wiring, pre: dict[str, jax.Array], c: jax.Array, peepholes: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """c', h' and the gates' activations, from pre-activations by letter and the cell state, all of one shape.

        i, f, o = sigmoid(pre)      z = squash_in(pre)      c' = f c + i z      h' = o squash_out(c')

    `peepholes` [gates, ...] scale c, for o c', and are added to the pre-activations, in the wiring's order.
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
    """`memory` of the common LSTM: c' and h'."""
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(z)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


@_standard_memory.defjvp
def _standard_memory_jvp(primals, tangents):
    # One factor for each input, so that a backward pass saves 6 arrays a step; autodiff's own way saves 12.
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
    """LSTM with forget gate and no peepholes; one bias a gate.

        i, f, o = sigmoid(x W_x + h W_h + b)     z = tanh(x W_x + h W_h + b)     each with its own W_x, W_h, b
        c' = f c + i z                           h' = o tanh(c')                 y = h'

    Gates stand in the order i, f, z, o along the last axis of w_x [D, 4F], w_h [F, 4F], b [4F]. The forget gate's
    bias starts at 1. Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 1999 (forget gate).

    The other cells of the family are this class with another `wiring`; `p` [gates but z, F] are the peepholes.
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
        """`weights` with the forget gate's bias at its starting value, and peepholes, at zero, where there are any."""
        bias = getattr(config, "forget_bias", 0.0)
        # A coupled f = 1 - i starts at the same place by way of i.
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
        """[..., G F] taken apart into the wiring's gates."""
        return dict(zip(cls.wiring.gates, jnp.split(x, len(cls.wiring.gates), axis=-1), strict=True))

    @classmethod
    def update(cls, inner: CellParams, carry: LSTMCarry, u: jax.Array, v: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        pre = cls.by_letter(u.astype(carry.c.dtype) + v)
        c, h, _ = memory(cls.wiring, pre, carry.c, inner.get("p"))
        return LSTMCarry(c=c, h=h), h
