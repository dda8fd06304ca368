"""Helpers of the mLSTM's kernels: the order of programs, products over slices, and the decays of a tile."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import Launch, product
from xlstm_jax.ops.mlstm.pallas.gates import Exponents


class Programs(NamedTuple):
    """The programs of a kernel, in order: tiles j fastest, then tiles i, heads, batch, and chunks slowest.

    A GPU starts programs in this order. Those that read the same blocks of q, k, v and C thus run at the same time, and
    all but the first find the blocks in the L2 cache.
    """

    batch: int
    heads: int
    chunks: int
    rows: int  # tiles i
    columns: int  # tiles j

    @property
    def grid(self) -> tuple[int]:
        """One axis: CUDA ends the others at 65,535 programs."""
        return (math.prod(self),)

    def place(self, program: jax.Array) -> dict[str, jax.Array]:
        """Chunk n, batch b, head h, and tiles i and j of a program."""
        sizes = {"j": self.columns, "i": self.rows, "h": self.heads, "b": self.batch, "n": self.chunks}
        where = {}
        for letter, size in sizes.items():
            where[letter] = jax.lax.rem(program, np.int32(size)) if size > 1 else np.int32(0)
            program = jax.lax.div(program, np.int32(size)) if size > 1 else program
        return where

    def here(self) -> dict[str, jax.Array]:
        """`place` of the program that runs."""
        return self.place(pl.program_id(0))

    def at(self, axes: str, *shape: int | None) -> pl.BlockSpec:
        """The block of a program. `axes` has one letter for each axis of the array: the block's index along it.

        The letters are those of `place`; r is tile i of chunk n, and 0 is the start. A `shape` of None drops the axis.
        """

        def index(program):
            where = self.place(program)
            where |= {"r": where["n"] * np.int32(self.rows) + where["i"], "0": np.int32(0)}
            return tuple(where[letter] for letter in axes)

        return pl.BlockSpec(shape, index)


def products(ones: list, others: list, how: Launch, *, trans_b: bool = False) -> jax.Array:
    """The sum of products of the entries of two lists: a matrix product over features cut into slices."""
    return sum(product(a, b, how, trans_b=trans_b) for a, b in zip(ones, others, strict=True))


def decay(of: Exponents, t, s, transposed: bool = False) -> jax.Array:
    """e^(D_ts - m_t) for tiles of steps t and s (slices of one chunk), 0 if t does not see s; [t, s] or [s, t]."""

    def along_t(a):
        return a[t][None, :] if transposed else a[t][:, None]

    def along_s(a):
        return a[s][:, None] if transposed else a[s][None, :]

    top, coarse, fine = (along_t(a) + along_s(b) for a, b in zip(of.of_t, of.of_s, strict=True))
    weight = jnp.exp((top + coarse) + fine)
    shape = (s.size, t.size) if transposed else (t.size, s.size)
    step_t = t.start + jax.lax.broadcasted_iota(jnp.int32, shape, int(transposed))
    step_s = s.start + jax.lax.broadcasted_iota(jnp.int32, shape, int(not transposed))
    seen = step_t >= step_s
    if of.segment is not None:
        seen &= along_t(of.segment) == along_s(of.segment)
    return jnp.where(seen, weight, jnp.zeros_like(weight))


def tiles_up_to(step: jax.Array, size: int) -> jax.Array:
    """The number of tiles of `size` steps that cover the steps before `step`; int32 even in x64 mode."""
    return jax.lax.div(step + (size - 1), jnp.int32(size))


def slices(features: int, size: int):
    """Slices of `size` features, which must divide `features`."""
    return [pl.ds(start, size) for start in range(0, features, size)]
