"""The backward kernels: gradients of the states between chunks, of q, k and v, and of the gates' exponents and factors.

With inv_t = scale / denominator and dnq_t = scale times the gradient of n.q (both from XLA), and S'_ts = q_t.k_s W_ts,

    dS'_ts = inv_t dh_t.v_s + dnq_t            inter_t = inv_t C dh_t + dnq_t n
    dq_t = sum_s dS'_ts W_ts k_s + g_t inter_t                          drow_t = sum_s dS'_ts S'_ts,  dg_t = q_t.inter_t
    dk_s = sum_t dS'_ts W_ts q_t + last_s (dC' v_s + dn')               dcolumn_s = sum_t dS'_ts S'_ts
    dv_s = sum_t S'_ts inv_t dh_t + last_s k_s dC'                      dlast_s = k_s.(dC' v_s + dn')
    dC   = chunk dC' + sum_t g_t inv_t q_t dh_t^T                       dchunk = <dC', C> + <dn', n>

for a chunk with the state C, n before it and the gradient dC', dn' of the state after it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import launch, product
from xlstm_jax.ops.mlstm.decays import Parts
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors
from xlstm_jax.ops.mlstm.pallas.shared import blocks, decay, products, slices, tiles_up_to
from xlstm_jax.ops.mlstm.pallas.tiles import Tiles


class Cotangents(NamedTuple):
    """Cotangents from h: dh [B,T,H,V], and inv and dnq [B,H,T]."""

    dh: jax.Array
    inv: jax.Array
    dnq: jax.Array


def state_gradients(q_BTHK, of: Cotangents, factors: Factors, C_BHNKV, n_BHNK, dC_BHKV, dn_BHK, tiles: Tiles):
    """dC' [B,H,N,K,V] in q's dtype, dn' [B,H,N,K], dC and dn of the initial state, and dchunk [B,H,N].

    A program holds a tile of dC and loops over the chunks from the last to the first.
    """
    batch, time, heads, keys = q_BTHK.shape
    values, chunks, bk, bv = of.dh.shape[-1], time // tiles.chunk, tiles.keys, tiles.values
    wide, per_chunk = dC_BHKV.dtype, tiles.chunk // tiles.turn

    def kernel(q, of, before, chunk, C, n, dC_end, dn_end, dC_after, dn_after, dC_start, dn_start, dchunk):
        # n is in every tile along V; its part of dchunk must count once.
        first = (pl.program_id(2) == 0).astype(wide)

        def over_chunks(turn, gradients):
            index = chunks - 1 - turn
            dC, dn = gradients
            dC_after[index], dn_after[index] = dC.astype(dC_after.dtype), dn
            dchunk[index] = jnp.sum(dC * C[index].astype(wide)) + first * jnp.sum(dn * n[index])

            def over_steps(tile, gradients):
                dC, dn = gradients
                t = pl.ds((index * per_chunk + tile) * tiles.turn, tiles.turn)
                g, q_t = before[t], q[t, :].astype(wide)
                weighted = q_t * (g * of.inv[t])[:, None]
                dC += product(weighted.astype(q.dtype), of.dh[t, :], tiles, trans_a=True)
                return dC, dn + jnp.sum(q_t * (g * of.dnq[t])[:, None], axis=0)

            factor = chunk[index]
            return jax.lax.fori_loop(0, per_chunk, over_steps, (factor * dC, factor * dn))

        dC_start[...], dn_start[...] = jax.lax.fori_loop(0, chunks, over_chunks, (dC_end[...], dn_end[...]))

    at, tiled = blocks(heads), (keys // bk, values // bv)
    step, ends = at("bh0", None, None, time), [at("bhij", None, None, bk, bv), at("bhi", None, None, bk)]
    states = [at("bh0ij", None, None, chunks, bk, bv), at("bh0i", None, None, chunks, bk)]
    *gradients, dchunk_BHIJN = launch(
        kernel,
        "mlstm_state_gradients",
        (batch * heads, *tiled),
        [
            at("b0hi", None, time, None, bk),
            Cotangents(at("b0hj", None, time, None, bv), step, step),
            step,
            at("bh0", None, None, chunks),
            *states,
            *ends,
        ],
        [*states, *ends, at("bhij0", None, None, None, None, chunks)],
        [
            jax.ShapeDtypeStruct(C_BHNKV.shape, C_BHNKV.dtype),
            jax.ShapeDtypeStruct(n_BHNK.shape, wide),
            jax.ShapeDtypeStruct(dC_BHKV.shape, wide),
            jax.ShapeDtypeStruct(dn_BHK.shape, wide),
            jax.ShapeDtypeStruct((batch, heads, *tiled, chunks), wide),
        ],
        tiles,
        *(q_BTHK, of, factors.before, factors.chunk, C_BHNKV, n_BHNK, dC_BHKV, dn_BHK),
    )
    return *gradients, jnp.sum(dchunk_BHIJN, axis=(2, 3))


class _Chunks:
    """Shapes and blocks of the kernels whose programs work inside a chunk."""

    def __init__(self, q_BTHK, v_BTHV, exponents: Exponents, tiles: Tiles):
        batch, time, heads, keys = q_BTHK.shape
        self.tiles = tiles
        self.values, length, chunks = v_BTHV.shape[-1], tiles.chunk, time // tiles.chunk
        self.held, self.of_V = length // tiles.held, slices(self.values, tiles.values)
        self.programs, self.parts = batch * heads * chunks, keys // tiles.keys
        self.at = at = blocks(heads, chunks, self.held)
        self.step, self.steps_held = at("bhn", None, None, length), at("jbhr", None, None, None, tiles.held)
        self.of_parts = (self.parts, batch, heads, time)
        segment = None if exponents.segment is None else at("bn", None, length)
        self.exponents = Exponents(Parts(*[self.step] * 3), Parts(*[self.step] * 3), self.step, segment)
        self.part, self.part_held = (
            at("bnhj", None, length, None, tiles.keys),
            at("brhj", None, tiles.held, None, tiles.keys),
        )
        self.keys, self.all_values = at("bnh0", None, length, None, keys), at("bnh0", None, length, None, self.values)
        self.cotangents = Cotangents(self.all_values, self.step, self.step)
        self.C, self.n = (
            at("bhnj0", None, None, None, tiles.keys, self.values),
            at("bhnj", None, None, None, tiles.keys),
        )

    def gradient(self, kernel, name: str, *args):
        """dq or dk [B,T,H,K] in its own dtype, and two sums [B,H,T]; each program holds a tile of K."""
        q_BTHK, wide = args[0], args[-1].dtype
        d_BTHK, *sums = launch(
            kernel,
            name,
            (self.programs, self.held, self.parts),
            [self.part, self.part, self.all_values, self.exponents, self.step, self.cotangents, self.C, self.n],
            [self.part_held, self.steps_held, self.steps_held],
            [jax.ShapeDtypeStruct(q_BTHK.shape, q_BTHK.dtype), *[jax.ShapeDtypeStruct(self.of_parts, wide)] * 2],
            self.tiles,
            *args,
        )
        return d_BTHK, *(jnp.sum(part, axis=0) for part in sums)


def q_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, before_BHT, of: Cotangents, C_BHNKV, n_BHNK, tiles: Tiles):
    """dq [B,T,H,K] in q's dtype, drow and dg [B,H,T]; a program holds a tile of a chunk's steps t and of K."""
    chunk, wide = _Chunks(q_BTHK, v_BTHV, exponents, tiles), n_BHNK.dtype
    of_V = chunk.of_V

    def kernel(q, k, v, exponents, before, of, C, n, dq, drow, dg):
        t = pl.ds(pl.program_id(1) * tiles.held, tiles.held)
        q_t, dh_t = q[t, :], [of.dh[t, V] for V in of_V]
        inv, dnq, g = of.inv[t][:, None], of.dnq[t][:, None], before[t]

        def over_steps(tile, carry):
            s = pl.ds(tile * tiles.turn, tiles.turn)
            k_s = k[s, :]
            dscores = products(dh_t, [v[s, V] for V in of_V], tiles, trans_b=True)
            dqk = (inv * dscores + dnq) * decay(exponents, t, s)
            drow_t, dq_t = carry
            drow_t += jnp.sum(dqk * product(q_t, k_s, tiles, trans_b=True), axis=1)
            return drow_t, dq_t + product(dqk.astype(k.dtype), k_s, tiles)

        inter = inv * products(dh_t, [C[:, V] for V in of_V], tiles, trans_b=True) + dnq * n[...][None, :]
        dg[...] = jnp.sum(q_t.astype(wide) * inter, axis=1)
        seen = tiles_up_to(t.start + tiles.held, tiles.turn)
        start = jnp.zeros_like(g), g[:, None] * inter
        drow[...], dq_t = jax.lax.fori_loop(jnp.int32(0), seen, over_steps, start)
        dq[...] = dq_t.astype(dq.dtype)

    return chunk.gradient(
        kernel, "mlstm_q_gradient", q_BTHK, k_BTHK, v_BTHV, exponents, before_BHT, of, C_BHNKV, n_BHNK
    )


def k_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of: Cotangents, dC_BHNKV, dn_BHNK, tiles: Tiles):
    """dk [B,T,H,K] in k's dtype, dcolumn and dlast [B,H,T]; a program holds a tile of a chunk's steps s and of K."""
    chunk, wide = _Chunks(q_BTHK, v_BTHV, exponents, tiles), dn_BHNK.dtype
    of_V = chunk.of_V

    def kernel(q, k, v, exponents, last, of, dC, dn, dk, dcolumn, dlast):
        s = pl.ds(pl.program_id(1) * tiles.held, tiles.held)
        k_s, v_s, weight = k[s, :], [v[s, V] for V in of_V], last[s]

        def over_steps(tile, carry):
            t = pl.ds(tile * tiles.turn, tiles.turn)
            q_t = q[t, :]
            dscores = products(v_s, [of.dh[t, V] for V in of_V], tiles, trans_b=True)
            dqk = (of.inv[t][None, :] * dscores + of.dnq[t][None, :]) * decay(exponents, t, s, transposed=True)
            dcolumn_s, dk_s = carry
            dcolumn_s += jnp.sum(dqk * product(k_s, q_t, tiles, trans_b=True), axis=1)
            return dcolumn_s, dk_s + product(dqk.astype(q.dtype), q_t, tiles)

        inter = products(v_s, [dC[:, V] for V in of_V], tiles, trans_b=True) + dn[...][None, :]
        dlast[...] = jnp.sum(k_s.astype(wide) * inter, axis=1)
        first, end = jax.lax.div(s.start, jnp.int32(tiles.turn)), jnp.int32(tiles.chunk // tiles.turn)
        start = jnp.zeros_like(weight), weight[:, None] * inter
        dcolumn[...], dk_s = jax.lax.fori_loop(first, end, over_steps, start)
        dk[...] = dk_s.astype(dk.dtype)

    return chunk.gradient(
        kernel, "mlstm_k_gradient", q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of, dC_BHNKV, dn_BHNK
    )


def v_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of: Cotangents, dC_BHNKV, tiles: Tiles):
    """dv [B,T,H,V] in v's dtype; a program holds a tile of a chunk's steps s and of V."""
    chunk, wide = _Chunks(q_BTHK, v_BTHV, exponents, tiles), of.inv.dtype
    of_K, bv = slices(q_BTHK.shape[-1], tiles.keys), tiles.values

    def kernel(q, k, exponents, last, of, dC, dv):
        s = pl.ds(pl.program_id(1) * tiles.held, tiles.held)
        k_s, weight = [k[s, K] for K in of_K], last[s][:, None]
        weighted = [(weight * k_K.astype(wide)).astype(k.dtype) for k_K in k_s]

        def over_steps(tile, dv_s):
            t = pl.ds(tile * tiles.turn, tiles.turn)
            qk = products(k_s, [q[t, K] for K in of_K], tiles, trans_b=True)
            scores = qk * decay(exponents, t, s, transposed=True) * of.inv[t][None, :]
            return dv_s + product(scores.astype(dv.dtype), of.dh[t, :], tiles)

        start = products(weighted, [dC[K, :] for K in of_K], tiles)
        first, end = jax.lax.div(s.start, jnp.int32(tiles.turn)), jnp.int32(tiles.chunk // tiles.turn)
        dv_s = jax.lax.fori_loop(first, end, over_steps, start)
        dv[...] = dv_s.astype(dv.dtype)

    at, length = chunk.at, tiles.chunk
    return launch(
        kernel,
        "mlstm_v_gradient",
        (chunk.programs, chunk.held, chunk.values // bv),
        [
            chunk.keys,
            chunk.keys,
            chunk.exponents,
            chunk.step,
            Cotangents(at("bnhj", None, length, None, bv), chunk.step, chunk.step),
            at("bhn0j", None, None, None, q_BTHK.shape[-1], bv),
        ],
        at("brhj", None, tiles.held, None, bv),
        jax.ShapeDtypeStruct(v_BTHV.shape, v_BTHV.dtype),
        tiles,
        *(q_BTHK, k_BTHK, exponents, last_BHT, of, dC_BHNKV),
    )
