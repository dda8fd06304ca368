"""The backward kernels: gradients of the states between chunks, of q, k and v, and of the gates' exponents and factors.

With inv_t = scale / denominator and dnq_t = scale times the gradient of n.q (both from XLA), and S'_ts = q_t.k_s W_ts,

    dS'_ts = inv_t dh_t.v_s + dnq_t            inter_t = inv_t C dh_t + dnq_t n
    dq_t = sum_s dS'_ts W_ts k_s + g_t inter_t                          drow_t = sum_s dS'_ts S'_ts,  dg_t = q_t.inter_t
    dk_s = sum_t dS'_ts W_ts q_t + last_s (dC' v_s + dn')               dcolumn_s = sum_t dS'_ts S'_ts
    dv_s = sum_t S'_ts inv_t dh_t + last_s k_s dC'                      dlast_s = k_s.(dC' v_s + dn')
    dC   = chunk dC' + sum_t g_t inv_t q_t dh_t^T                       dchunk = <dC', C> + <dn', n>

for a chunk with the state C, n before it and the gradient dC', dn' of the state after it.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import launch, product
from xlstm_jax.ops.mlstm.decays import Parts
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors
from xlstm_jax.ops.mlstm.pallas.normalizer import Cotangents
from xlstm_jax.ops.mlstm.pallas.shared import Programs, decay, products, slices, tiles_up_to
from xlstm_jax.ops.mlstm.pallas.tiles import Tile, Tiles


def state_gradients(q_BTHK, of: Cotangents, factors: Factors, C_BHNKV, n_BHNK, dC_BHKV, dn_BHK, tiles: Tiles):
    """dC' [B,H,N,K,V] in q's dtype, dn' [B,H,N,K], dC and dn of the initial state, and dchunk [B,H,N].

    A program holds a tile of dC and loops over the chunks from the last to the first.
    """
    batch, time, heads, keys = q_BTHK.shape
    values, chunks, tile = of.dh.shape[-1], time // tiles.chunk, tiles.state_gradients
    wide, per_chunk, bk, bv = dC_BHKV.dtype, tiles.chunk // tile.turn, tile.keys, tile.values
    programs = Programs(batch, heads, 1, keys // bk, values // bv)

    def kernel(q, of, before, chunk, C, n, dC_end, dn_end, dC_after, dn_after, dC_start, dn_start, dchunk):
        # n is in every tile along V; its part of dchunk must count once.
        first = (programs.here()["j"] == 0).astype(wide)

        def over_chunks(done, gradients):
            index = chunks - 1 - done
            dC, dn = gradients
            dC_after[index], dn_after[index] = dC.astype(dC_after.dtype), dn
            dchunk[index] = jnp.sum(dC * C[index].astype(wide)) + first * jnp.sum(dn * n[index])

            def over_steps(turn, gradients):
                dC, dn = gradients
                t = pl.ds((index * per_chunk + turn) * tile.turn, tile.turn)
                g, q_t = before[t], q[t, :].astype(wide)
                weighted = q_t * (g * of.inv[t])[:, None]
                dC += product(weighted.astype(q.dtype), of.dh[t, :], tile, trans_a=True)
                return dC, dn + jnp.sum(q_t * (g * of.dnq[t])[:, None], axis=0)

            factor = chunk[index]
            return jax.lax.fori_loop(0, per_chunk, over_steps, (factor * dC, factor * dn))

        dC_start[...], dn_start[...] = jax.lax.fori_loop(0, chunks, over_chunks, (dC_end[...], dn_end[...]))

    at = programs.at
    step, ends = at("bh0", None, None, time), [at("bhij", None, None, bk, bv), at("bhi", None, None, bk)]
    states = [at("bh0ij", None, None, chunks, bk, bv), at("bh0i", None, None, chunks, bk)]
    *gradients, dchunk_BHIJN = launch(
        kernel,
        "mlstm_state_gradients",
        programs.grid,
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
            jax.ShapeDtypeStruct((batch, heads, keys // bk, values // bv, chunks), wide),
        ],
        tile,
        *(q_BTHK, of, factors.before, factors.chunk, C_BHNKV, n_BHNK, dC_BHKV, dn_BHK),
        flops=2 * batch * time * heads * keys * values,
    )
    return *gradients, jnp.sum(dchunk_BHIJN, axis=(2, 3))


class _Chunks:
    """Shapes and blocks of the kernels whose programs work inside a chunk."""

    def __init__(self, q_BTHK, v_BTHV, exponents: Exponents, length: int, tile: Tile, columns: int):
        batch, time, heads, keys = q_BTHK.shape
        self.tile, self.length, self.values = tile, length, v_BTHV.shape[-1]
        self.of_V = slices(self.values, tile.values)
        self.programs = Programs(batch, heads, time // length, length // tile.held, columns)
        at = self.programs.at
        self.step, self.steps_held = at("bhn", None, None, length), at("jbhr", None, None, None, tile.held)
        self.of_parts = (columns, batch, heads, time)
        segment = None if exponents.segment is None else at("bn", None, length)
        self.exponents = Exponents(Parts(*[self.step] * 3), Parts(*[self.step] * 3), self.step, segment)
        self.part, self.part_held = (
            at("bnhj", None, length, None, tile.keys),
            at("brhj", None, tile.held, None, tile.keys),
        )
        self.keys, self.all_values = at("bnh0", None, length, None, keys), at("bnh0", None, length, None, self.values)
        self.cotangents = Cotangents(self.all_values, self.step, self.step)
        self.C, self.n = (
            at("bhnj0", None, None, None, tile.keys, self.values),
            at("bhnj", None, None, None, tile.keys),
        )

    def held(self) -> pl.Slice:
        """The steps of the chunk that the program holds."""
        return pl.ds(self.programs.here()["i"] * self.tile.held, self.tile.held)

    def flops(self, per_pair: int, per_step: int) -> int:
        """Of the products of all programs, from the multiplications for each pair of steps and for each step."""
        programs = self.programs.batch * self.programs.heads * self.programs.chunks * self.programs.columns
        return 2 * programs * (self.tile.pairs(self.length) * per_pair + self.length * per_step)

    def gradient(self, kernel, name: str, *args):
        """dq or dk [B,T,H,K] in its own dtype, and two sums [B,H,T]; each program holds a tile of K."""
        q_BTHK, wide = args[0], args[-1].dtype
        d_BTHK, *sums = launch(
            kernel,
            name,
            self.programs.grid,
            [self.part, self.part, self.all_values, self.exponents, self.step, self.cotangents, self.C, self.n],
            [self.part_held, self.steps_held, self.steps_held],
            [jax.ShapeDtypeStruct(q_BTHK.shape, q_BTHK.dtype), *[jax.ShapeDtypeStruct(self.of_parts, wide)] * 2],
            self.tile,
            *args,
            flops=self.flops(self.values + 2 * self.tile.keys, self.values * self.tile.keys),
        )
        return d_BTHK, *(jnp.sum(part, axis=0) for part in sums)


def q_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, before_BHT, of: Cotangents, C_BHNKV, n_BHNK, tiles: Tiles):
    """dq [B,T,H,K] in q's dtype, drow and dg [B,H,T]; a program holds a tile of a chunk's steps t and of K."""
    tile, wide = tiles.q_gradient, n_BHNK.dtype
    chunk = _Chunks(q_BTHK, v_BTHV, exponents, tiles.chunk, tile, q_BTHK.shape[-1] // tile.keys)
    of_V = chunk.of_V

    def kernel(q, k, v, exponents, before, of, C, n, dq, drow, dg):
        t = chunk.held()
        q_t, dh_t = q[t, :], [of.dh[t, V] for V in of_V]
        inv, dnq, g = of.inv[t][:, None], of.dnq[t][:, None], before[t]

        def over_steps(turn, carry):
            s = pl.ds(turn * tile.turn, tile.turn)
            k_s = k[s, :]
            dscores = products(dh_t, [v[s, V] for V in of_V], tile, trans_b=True)
            dqk = (inv * dscores + dnq) * decay(exponents, t, s)
            drow_t, dq_t = carry
            drow_t += jnp.sum(dqk * product(q_t, k_s, tile, trans_b=True), axis=1)
            return drow_t, dq_t + product(dqk.astype(k.dtype), k_s, tile)

        inter = inv * products(dh_t, [C[:, V] for V in of_V], tile, trans_b=True) + dnq * n[...][None, :]
        dg[...] = jnp.sum(q_t.astype(wide) * inter, axis=1)
        seen = tiles_up_to(t.start + tile.held, tile.turn)
        start = jnp.zeros_like(g), g[:, None] * inter
        drow[...], dq_t = jax.lax.fori_loop(jnp.int32(0), seen, over_steps, start)
        dq[...] = dq_t.astype(dq.dtype)

    return chunk.gradient(
        kernel, "mlstm_q_gradient", q_BTHK, k_BTHK, v_BTHV, exponents, before_BHT, of, C_BHNKV, n_BHNK
    )


def k_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of: Cotangents, dC_BHNKV, dn_BHNK, tiles: Tiles):
    """dk [B,T,H,K] in k's dtype, dcolumn and dlast [B,H,T]; a program holds a tile of a chunk's steps s and of K."""
    tile, wide = tiles.k_gradient, dn_BHNK.dtype
    chunk = _Chunks(q_BTHK, v_BTHV, exponents, tiles.chunk, tile, q_BTHK.shape[-1] // tile.keys)
    of_V = chunk.of_V

    def kernel(q, k, v, exponents, last, of, dC, dn, dk, dcolumn, dlast):
        s = chunk.held()
        k_s, v_s, weight = k[s, :], [v[s, V] for V in of_V], last[s]

        def over_steps(turn, carry):
            t = pl.ds(turn * tile.turn, tile.turn)
            q_t = q[t, :]
            dscores = products(v_s, [of.dh[t, V] for V in of_V], tile, trans_b=True)
            dqk = (of.inv[t][None, :] * dscores + of.dnq[t][None, :]) * decay(exponents, t, s, transposed=True)
            dcolumn_s, dk_s = carry
            dcolumn_s += jnp.sum(dqk * product(k_s, q_t, tile, trans_b=True), axis=1)
            return dcolumn_s, dk_s + product(dqk.astype(q.dtype), q_t, tile)

        inter = products(v_s, [dC[:, V] for V in of_V], tile, trans_b=True) + dn[...][None, :]
        dlast[...] = jnp.sum(k_s.astype(wide) * inter, axis=1)
        first, end = jax.lax.div(s.start, jnp.int32(tile.turn)), jnp.int32(tiles.chunk // tile.turn)
        start = jnp.zeros_like(weight), weight[:, None] * inter
        dcolumn[...], dk_s = jax.lax.fori_loop(first, end, over_steps, start)
        dk[...] = dk_s.astype(dk.dtype)

    return chunk.gradient(
        kernel, "mlstm_k_gradient", q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of, dC_BHNKV, dn_BHNK
    )


def v_gradient(q_BTHK, k_BTHK, v_BTHV, exponents, last_BHT, of: Cotangents, dC_BHNKV, tiles: Tiles):
    """dv [B,T,H,V] in v's dtype; a program holds a tile of a chunk's steps s and of V."""
    tile, wide = tiles.v_gradient, of.inv.dtype
    of_K, bv = slices(q_BTHK.shape[-1], tile.keys), tile.values
    chunk = _Chunks(q_BTHK, v_BTHV, exponents, tiles.chunk, tile, v_BTHV.shape[-1] // bv)

    def kernel(q, k, exponents, last, of, dC, dv):
        s = chunk.held()
        k_s, weight = [k[s, K] for K in of_K], last[s][:, None]
        weighted = [(weight * k_K.astype(wide)).astype(k.dtype) for k_K in k_s]

        def over_steps(turn, dv_s):
            t = pl.ds(turn * tile.turn, tile.turn)
            qk = products(k_s, [q[t, K] for K in of_K], tile, trans_b=True)
            scores = qk * decay(exponents, t, s, transposed=True) * of.inv[t][None, :]
            return dv_s + product(scores.astype(dv.dtype), of.dh[t, :], tile)

        start = products(weighted, [dC[K, :] for K in of_K], tile)
        first, end = jax.lax.div(s.start, jnp.int32(tile.turn)), jnp.int32(tiles.chunk // tile.turn)
        dv_s = jax.lax.fori_loop(first, end, over_steps, start)
        dv[...] = dv_s.astype(dv.dtype)

    at, length = chunk.programs.at, tiles.chunk
    return launch(
        kernel,
        "mlstm_v_gradient",
        chunk.programs.grid,
        [
            chunk.keys,
            chunk.keys,
            chunk.exponents,
            chunk.step,
            Cotangents(at("bnhj", None, length, None, bv), chunk.step, chunk.step),
            at("bhn0j", None, None, None, q_BTHK.shape[-1], bv),
        ],
        at("brhj", None, tile.held, None, bv),
        jax.ShapeDtypeStruct(v_BTHV.shape, v_BTHV.dtype),
        tile,
        *(q_BTHK, k_BTHK, exponents, last_BHT, of, dC_BHNKV),
        flops=chunk.flops(q_BTHK.shape[-1] + bv, q_BTHK.shape[-1] * bv),
    )
