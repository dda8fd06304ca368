"""What both kernels have in common: blocks of a chunk, its gates, and products."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import padded
from xlstm_jax.ops.mlstm.decays import COARSE, Parts
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors

LANES = 128  # features and steps of a block come in multiples of it
ROWS = 8  # of gates or sums in a block: a TPU's register has 8 rows of 128 lanes
# Rows of gates. The first four are the exponents of D_ts - m_t: multiples of COARSE as whole numbers, and the rest.
WHOLE_T, FINE_T, WHOLE_S, FINE_S, BEFORE, LAST, SEGMENT, CHUNK = range(ROWS)
# For the blocks of a program: a kernel has 16 MiB for these and for intermediate results.
MOST_BYTES = 12 * 2**20
# Whole numbers wrap around, so differences below 2^24 are right: 512 shut gates add up to 2^23 (decays.SHUT).
MOST_STEPS = 512


class Chunk(NamedTuple):
    """How the kernels run: steps of a chunk, chunks of a program, and `exact` and `races` of `TPULaunch`."""

    length: int
    group: int = 1
    exact: bool = True
    races: bool = False

    @classmethod
    def choose(cls, time: int, keys: int, values: int, dtype, chunk_size: int | None = None) -> "Chunk":
        """256 steps of bfloat16 or 128 of float32, or a `chunk_size` rounded up; at most 512, and no more than T needs.

        A program has up to four chunks, as many as the chip has room for: the time between programs is then shared.
        """
        size = jnp.dtype(dtype).itemsize
        length = -(-min(chunk_size or (256 if size == 2 else 128), time, MOST_STEPS) // LANES) * LANES
        # Of the backward kernel, which has the most; all but the gradient it carries are copied while others are used.
        keys, values = (-(-width // LANES) * LANES for width in (keys, values))
        state = 4 * keys * values
        bytes_of_chunk = 2 * size * (length * (4 * keys + 3 * values) + keys * values)
        chunks, room = -(-time // length), max(1, (MOST_BYTES - 6 * state) // bytes_of_chunk)
        return cls(length, group=max(group for group in (1, 2, 3, 4) if chunks % group == 0 and group <= room))


def whole(parts: Parts) -> jax.Array:
    """The first two parts in units of COARSE, int32 modulo 2^32; exact below 2^39, beyond which numbers are 0."""

    def wrapped(part):
        units = jnp.clip(part / COARSE, -(2.0**46), 2.0**46)
        high = jnp.floor(units / 2**16)  # of at most 2^30, so that no conversion overflows
        return (high.astype(jnp.int32) << 16) + (units - high * 2**16).astype(jnp.int32)

    return wrapped(parts.top) + wrapped(parts.coarse)


def gate_rows(exponents: Exponents, factors: Factors, length: int, *others: jax.Array) -> jax.Array:
    """All numbers of the gates by chunk, [B, H, N, 8 or 16, L] int32: the rows above and the others, bit by bit."""
    batch, heads, time = exponents.m.shape
    segment = jnp.zeros((batch, time), jnp.int32) if exponents.segment is None else exponents.segment
    rows = [whole(exponents.of_t), exponents.of_t.fine, whole(exponents.of_s), exponents.of_s.fine]
    rows += [factors.before, factors.last, jnp.broadcast_to(segment[:, None], exponents.m.shape)]
    rows += [jnp.repeat(factors.chunk, length, axis=-1), *others]
    rows += [jnp.zeros_like(exponents.m)] * (-len(rows) % ROWS)
    by_step = jnp.stack([_bits(row) for row in rows], axis=2)
    return jnp.moveaxis(by_step.reshape(batch, heads, len(rows), time // length, length), 3, 2)


def _bits(a: jax.Array) -> jax.Array:
    """As int32, which moves unchanged: a TPU may replace the floats that some integers would be."""
    return a if a.dtype == jnp.int32 else jax.lax.bitcast_convert_type(a.astype(jnp.float32), jnp.int32)


def _float(a: jax.Array) -> jax.Array:
    """The float32 of `_bits`."""
    return jax.lax.bitcast_convert_type(a, jnp.float32)


class Gates:
    """The gates of a chunk in a kernel, from the rows [R, L] of `gate_rows`.

    Numbers of step s are rows; numbers of step t are columns, each over all lanes of a register, in tiles of steps.
    Without `resets`, all steps are of one segment.
    """

    def __init__(self, rows_RL: jax.Array, resets: bool):
        self.resets, self.rows, self.columns = resets, rows_RL, rows_RL.T
        self.chunk = self.row(CHUNK)[:, :1]

    def row(self, number: int) -> jax.Array:
        """[1, L]: a row of all steps."""
        return _float(self.rows[number : number + 1])

    def column(self, number: int, now: slice) -> jax.Array:
        """[tile, 128]: a row of these steps in every lane."""
        return _float(self._column(number, now))

    def _column(self, number: int, now: slice) -> jax.Array:
        column = self.columns[now, number : number + 1]
        return jnp.broadcast_to(column, (column.shape[0], LANES))

    def decay(self, now: slice) -> jax.Array:
        """W_ts = e^(D_ts - m_t) of these steps t, 0 if t does not see s: [tile, all steps s up to the last of them]."""
        tile = now.stop - now.start
        whole_t, segment_t = (self._column(number, now)[:, :tile] for number in (WHOLE_T, SEGMENT))
        fine_t, fine_s = self.column(FINE_T, now)[:, :tile], self.row(FINE_S)

        def weights(first: int) -> jax.Array:
            some = slice(first, first + tile)
            whole = (whole_t + self.rows[WHOLE_S : WHOLE_S + 1, some]).astype(jnp.float32)
            weights = jnp.exp(COARSE * whole + (fine_t + fine_s[:, some]))
            seen = []
            if first == now.start:
                t, s = (jax.lax.broadcasted_iota(jnp.int32, weights.shape, axis) for axis in range(2))
                seen.append(t >= s)
            if self.resets:
                seen.append(segment_t == self.rows[SEGMENT : SEGMENT + 1, some])
            for mask in seen:
                weights = jnp.where(mask, weights, jnp.zeros_like(weights))
            return weights

        return jnp.concatenate([weights(first) for first in range(0, now.stop, tile)], axis=1)


def tiles(length: int) -> list[slice]:
    """Steps whose numbers are computed together: as many as lanes, but in short chunks, which only tests have."""
    tile = min(length, LANES)
    return [slice(first, first + tile) for first in range(0, length, tile)]


def repeated(a_TL: jax.Array, width: int) -> jax.Array:
    """Numbers that all lanes of a register have, over as many columns."""
    return jnp.concatenate([a_TL] * -(-width // LANES), axis=1)[:, :width]


def sum_of_rows(*matrices: jax.Array) -> jax.Array:
    """The sum over all columns of all of these, in every lane of a register."""
    matrices = [padded(a, 1, LANES) for a in matrices]
    folded = sum(a[:, first : first + LANES] for a in matrices for first in range(0, a.shape[1], LANES))
    return jnp.broadcast_to(jnp.sum(folded, axis=1, keepdims=True), folded.shape)


def row(a_TL: jax.Array) -> jax.Array:
    """Numbers that all lanes have, [tile, 128], as a row [1, tile]."""
    a_TL = a_TL[:, : a_TL.shape[0]]
    t, s = (jax.lax.broadcasted_iota(jnp.int32, a_TL.shape, axis) for axis in range(2))
    return jnp.sum(jnp.where(t == s, a_TL, jnp.zeros_like(a_TL)), axis=0, keepdims=True)


def inverse(a: jax.Array) -> jax.Array:
    """1 / a of positive numbers by Newton's method from the chip's guess: half of the instructions of a division."""
    from jax.experimental.pallas import tpu

    reciprocal = getattr(tpu, "reciprocal", None) or pl.reciprocal  # jax 0.10 has it in `pl` alone
    a = jnp.minimum(a, jnp.finfo(a.dtype).max)
    guess = reciprocal(a, approx=True)
    for _ in range(2):
        guess *= 2 - a * guess
    return guess


def product(a: jax.Array, b: jax.Array, chunk: Chunk, *, over: tuple[int, int] = (1, 0)) -> jax.Array:
    """The product of two matrices in float32, which sums over an axis of each."""
    precision = jax.lax.Precision.HIGHEST if chunk.exact and a.dtype == jnp.float32 else None
    axes = (((over[0],), (over[1],)), ((), ()))
    return jax.lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)


def weighted_sum(weights_1L: jax.Array, a_LF: jax.Array, chunk: Chunk) -> jax.Array:
    """The sum over steps of float32 weights and features, [1, F], with more digits than a product of narrow dtypes has.

    A product of two rows costs what that of one does: the second has what rounding takes from the first.
    """
    rounded = weights_1L.astype(a_LF.dtype)
    rest = (weights_1L - rounded.astype(jnp.float32)).astype(a_LF.dtype)
    return jnp.sum(product(jnp.concatenate([rounded, rest]), a_LF, chunk), axis=0, keepdims=True)


def blocks(turns: int, *, backward: bool = False):
    """Returns `at(kind, *shape)`, which makes a BlockSpec for programs (batch, head, turn), the last in any direction.

    Kinds: "steps" is [B, T, H * features], "chunks" [B, H, N, ...], "head" [B, H, ...].
    """

    def at(kind: str, *shape: int) -> pl.BlockSpec:
        def place(b, h, n):
            n = turns - 1 - n if backward else n
            return {"steps": (b, n, h), "chunks": (b, h, n, 0, 0), "head": (b, h, 0, 0)}[kind]

        leading = {"steps": 1, "chunks": 2, "head": 2}[kind]
        return pl.BlockSpec(((None,) * leading) + shape, place)

    return at
