"""What both kernels have in common: blocks of a chunk, its gates, and products."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors

LANES = 128  # features and steps of a block come in multiples of it
ROWS = 16  # of gates; 8 rows of 128 lanes are what a TPU's register has
SUMS = 8  # rows of sums that the backward kernel writes


class Chunk(NamedTuple):
    """How the kernels run: steps of a chunk, of which a program has one, and `exact` and `races` of `TPULaunch`."""

    length: int
    exact: bool = True
    races: bool = False

    @classmethod
    def choose(cls, time: int, dtype, chunk_size: int | None = None) -> "Chunk":
        """256 steps of bfloat16 or 128 of float32, or a `chunk_size` rounded up; no longer than T needs."""
        length = chunk_size or (256 if jnp.dtype(dtype).itemsize == 2 else 128)
        return cls(-(-min(length, time) // LANES) * LANES)


def gate_rows(exponents: Exponents, factors: Factors, length: int) -> jax.Array:
    """All numbers of the gates by chunk, [B, H, N, 16, L] float32; the order of rows is that of `Gates`."""
    batch, heads, time = exponents.m.shape
    segment = jnp.zeros((batch, time), jnp.int32) if exponents.segment is None else exponents.segment
    rows = [*exponents.of_t, *exponents.of_s, exponents.m, factors.before, factors.last]
    # As floats, counts of resets are exact up to 2^24.
    rows += [jnp.broadcast_to(segment[:, None], exponents.m.shape), jnp.repeat(factors.chunk, length, axis=-1)]
    rows += [jnp.zeros_like(exponents.m)] * (ROWS - len(rows))
    by_step = jnp.stack([row.astype(jnp.float32) for row in rows], axis=2)
    return jnp.moveaxis(by_step.reshape(batch, heads, ROWS, time // length, length), 3, 2)


class Gates:
    """The gates of a chunk in a kernel: numbers of step t as columns [L, 1], of step s as rows [1, L].

    Without `resets`, all steps are of one segment.
    """

    def __init__(self, rows_RL: jax.Array, resets: bool):
        self.resets = resets
        self.rows, self.columns = rows_RL, rows_RL.T
        self.m, self.before, self.last = (self.columns[:, at : at + 1] for at in (6, 7, 8))
        self.chunk = rows_RL[10:11, :1]

    def decay(self) -> jax.Array:
        """W_ts = e^(D_ts - m_t), 0 if t does not see s: [L, L]."""
        top, coarse, fine = (self.columns[:, at : at + 1] + self.rows[at + 3 : at + 4] for at in range(3))
        weight_LL = jnp.exp((top + coarse) + fine)
        t, s = (jax.lax.broadcasted_iota(jnp.int32, weight_LL.shape, axis) for axis in range(2))
        seen = t >= s
        if self.resets:
            seen &= self.columns[:, 9:10] == self.rows[9:10]
        return jnp.where(seen, weight_LL, jnp.zeros_like(weight_LL))


def product(a: jax.Array, b: jax.Array, chunk: Chunk, *, over: tuple[int, int] = (1, 0)) -> jax.Array:
    """The product of two matrices in float32, which sums over an axis of each."""
    precision = jax.lax.Precision.HIGHEST if chunk.exact and a.dtype == jnp.float32 else None
    axes = (((over[0],), (over[1],)), ((), ()))
    return jax.lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)


def row(column_L1: jax.Array) -> jax.Array:
    """A column as a row."""
    return jnp.broadcast_to(column_L1, (column_L1.shape[0], LANES)).T[:1]


def blocks(chunks: int, *, backward: bool = False):
    """Returns `at(kind, *shape)`, which makes a BlockSpec for programs (batch, head, chunk), the last in any direction.

    Kinds: "steps" is [B, T, H * features], "chunks" [B, H, N, ...], "head" [B, H, ...].
    """

    def at(kind: str, *shape: int) -> pl.BlockSpec:
        def place(b, h, n):
            n = chunks - 1 - n if backward else n
            return {"steps": (b, n, h), "chunks": (b, h, n, 0, 0), "head": (b, h, 0, 0)}[kind]

        leading = {"steps": 1, "chunks": 3, "head": 2}[kind]
        return pl.BlockSpec(((None,) * leading) + shape, place)

    return at
