"""Helpers of the mLSTM's kernels: block specs, products over slices, and the decays of a tile."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import product
from xlstm_jax.ops.mlstm.pallas.gates import Exponents
from xlstm_jax.ops.mlstm.pallas.tiles import Tiles


def blocks(heads: int, chunks: int = 1, tiles_per_chunk: int = 1):
    """Returns `at(axes, *shape)`, which makes a BlockSpec for programs (p, i, j); p runs over batch, heads and chunks.

    `axes` has one letter for each axis of the array: the program's block index along it. b, h and n are p's batch, head
    and chunk; i and j are the program's; r is tile i of chunk n; 0 is the start. A `shape` of None drops the axis.
    """

    def at(axes: str, *shape: int | None) -> pl.BlockSpec:
        def place(p, i, j):
            head, n = p // chunks, p % chunks
            where = {
                "b": head // heads,
                "h": head % heads,
                "n": n,
                "i": i,
                "j": j,
                "r": n * tiles_per_chunk + i,
                "0": 0,
            }
            return tuple(where[letter] for letter in axes)

        return pl.BlockSpec(shape, place)

    return at


def products(ones: list, others: list, tiles: Tiles, *, trans_b: bool = False) -> jax.Array:
    """The sum of products of the entries of two lists: a matrix product over features cut into slices."""
    return sum(product(a, b, tiles, trans_b=trans_b) for a, b in zip(ones, others, strict=True))


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
