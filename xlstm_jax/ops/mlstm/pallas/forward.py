"""The forward kernels: the state before each chunk, and each chunk's outputs."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.cells.mlstm import least_denominator
from xlstm_jax.ops.kernels import launch, product
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.decays import Parts
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors
from xlstm_jax.ops.mlstm.pallas.shared import Programs, decay, products, slices, tiles_up_to
from xlstm_jax.ops.mlstm.pallas.tiles import Tiles


def chunk_states(k_BTHK, v_BTHV, factors: Factors, C_BHKV, n_BHK, tiles: Tiles):
    """The state before each chunk, C [B,H,N,K,V] in k's dtype and n [B,H,N,K], and the state after the last chunk.

    C' = chunk C + sum_s last_s k_s v_s^T, and n likewise. A program holds a tile of C and loops over the chunks.
    """
    batch, time, heads, keys = k_BTHK.shape
    values, chunks, tile = v_BTHV.shape[-1], time // tiles.chunk, tiles.states
    wide, per_chunk, bk, bv = C_BHKV.dtype, tiles.chunk // tile.turn, tile.keys, tile.values

    def kernel(k, v, last, chunk, C_start, n_start, C_before, n_before, C_end, n_end):
        def over_chunks(index, state):
            C, n = state
            C_before[index], n_before[index] = C.astype(C_before.dtype), n

            def over_steps(turn, state):
                C, n = state
                s = pl.ds((index * per_chunk + turn) * tile.turn, tile.turn)
                weighted = k[s, :].astype(wide) * last[s][:, None]
                C += product(weighted.astype(k.dtype), v[s, :], tile, trans_a=True)
                return C, n + jnp.sum(weighted, axis=0)

            factor = chunk[index]
            return jax.lax.fori_loop(0, per_chunk, over_steps, (factor * C, factor * n))

        C_end[...], n_end[...] = jax.lax.fori_loop(0, chunks, over_chunks, (C_start[...], n_start[...]))

    programs = Programs(batch, heads, 1, keys // bk, values // bv)
    at = programs.at
    ends = [at("bhij", None, None, bk, bv), at("bhi", None, None, bk)]
    return launch(
        kernel,
        "mlstm_states",
        programs.grid,
        [
            at("b0hi", None, time, None, bk),
            at("b0hj", None, time, None, bv),
            at("bh0", None, None, time),
            at("bh0", None, None, chunks),
            *ends,
        ],
        [at("bh0ij", None, None, chunks, bk, bv), at("bh0i", None, None, chunks, bk), *ends],
        [
            jax.ShapeDtypeStruct((batch, heads, chunks, keys, values), k_BTHK.dtype),
            jax.ShapeDtypeStruct((batch, heads, chunks, keys), wide),
            jax.ShapeDtypeStruct(C_BHKV.shape, wide),
            jax.ShapeDtypeStruct(n_BHK.shape, wide),
        ],
        tile,
        *(k_BTHK, v_BTHV, factors.last, factors.chunk, C_BHKV, n_BHK),
        flops=2 * batch * time * heads * keys * values,
    )


def outputs(
    q_BTHK,
    k_BTHK,
    v_BTHV,
    exponents: Exponents,
    before_BHT,
    C_BHNKV,
    n_BHNK,
    tiles: Tiles,
    options: Options,
    scale: float,
    *,
    rest: bool,
):
    """h [B,T,H,V] in v's dtype, n.q [B,H,T] in float32, and with `rest` what rounding took from h, also in v's dtype.

    The backward pass needs h to more digits than 16 bits have. Two numbers of 16 bits take the memory of one of 32, and
    no other pass over h has to round it. Without a `rest`, and where v is not narrow, it is None; q is scaled by
    `scale`.

    A program holds a tile of a chunk's steps and of V. It loops over the steps up to its own, then adds the
    contribution of the state before the chunk.
    """
    batch, time, heads, keys = q_BTHK.shape
    values, length, tile = v_BTHV.shape[-1], tiles.chunk, tiles.outputs
    held, bv, wide, of_K = tile.held, tile.values, n_BHNK.dtype, slices(keys, tile.keys)
    programs = Programs(batch, heads, time // length, length // held, values // bv)

    narrow = jnp.dtype(v_BTHV.dtype).itemsize < jnp.dtype(wide).itemsize

    def kernel(q, k, v, exponents, before, C, n, h, nq, *lost):
        t = pl.ds(programs.here()["i"] * held, held)
        q_t = [q[t, K] for K in of_K]

        def over_steps(turn, carry):
            s = pl.ds(turn * tile.turn, tile.turn)
            scores = products(q_t, [k[s, K] for K in of_K], tile, trans_b=True) * decay(exponents, t, s)
            numerator, sums = carry
            numerator += product(scores.astype(v.dtype), v[s, :], tile)
            return numerator, sums + jnp.sum(scores, axis=1)

        g, start = before[t], (jnp.zeros((held, bv), wide), jnp.zeros((held,), wide))
        seen = tiles_up_to(t.start + held, tile.turn)
        numerator, sums = jax.lax.fori_loop(jnp.int32(0), seen, over_steps, start)
        # Add the state's part last: it may be the largest, and each sum is rounded.
        numerator += g[:, None] * products(q_t, [C[K, :] for K in of_K], tile)
        sums += g * sum(jnp.sum(q_K.astype(wide) * n[K][None, :], axis=1) for q_K, K in zip(q_t, of_K, strict=True))
        numerator, sums = scale * numerator, scale * sums
        if options.normalize:
            bound = least_denominator(exponents.m[t])
            numerator = numerator / (jnp.maximum(jnp.abs(sums), bound) + options.eps)[:, None]
        rounded = numerator.astype(h.dtype)
        h[...], nq[...] = rounded, sums
        for ref in lost:
            ref[...] = (numerator - rounded.astype(wide)).astype(ref.dtype)

    at = programs.at
    step, rows = at("bhn", None, None, length), at("bhr", None, None, held)
    segment = None if exponents.segment is None else at("bn", None, length)
    of_h, like_h = at("brhj", None, held, None, bv), jax.ShapeDtypeStruct(v_BTHV.shape, v_BTHV.dtype)
    lost, pairs = int(rest and narrow), tile.pairs(length)
    h, nq, *lost = launch(
        kernel,
        "mlstm_outputs",
        programs.grid,
        [
            at("bnh0", None, length, None, keys),
            at("bnh0", None, length, None, keys),
            at("bnhj", None, length, None, bv),
            Exponents(Parts(*[step] * 3), Parts(*[step] * 3), step, segment),
            step,
            at("bhn0j", None, None, None, keys, bv),
            at("bhn0", None, None, None, keys),
        ],
        [of_h, rows, *[of_h] * lost],
        [like_h, jax.ShapeDtypeStruct((batch, heads, time), wide), *[like_h] * lost],
        tile,
        *(q_BTHK, k_BTHK, v_BTHV, exponents, before_BHT, C_BHNKV, n_BHNK),
        flops=2 * batch * heads * (time // length) * (pairs * (keys + bv) + length * keys * bv) * (values // bv),
    )
    return h, nq, lost[0] if lost else None
