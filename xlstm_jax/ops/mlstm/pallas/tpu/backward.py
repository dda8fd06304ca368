"""The backward kernel: all gradients of a chunk at once, with that of the state on the chip from each chunk to the one
before. The equations are those of `ops.mlstm.pallas.backward`."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import TPULaunch, launch
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import LANES, ROWS, SUMS, Chunk, Gates, blocks, product

# Rows of gates that the forward kernel does not have.
INV, DNQ = 11, 12


def backward(q, k, v, dh, rows, C_BHNKV, n_BHN1K, dC_BHKV, dn_BH1K, chunk: Chunk, *, resets: bool):
    """dq, dk and dv like q, k and v; sums by step [B,H,N,8,L]; and the gradients of the first C and n.

    The rows of sums are drow, dg, dlast, dcolumn and, at every step, dchunk.

    Args:
        q, k, v, C_BHNKV, n_BHN1K: as of the forward kernel, with the states before each chunk.
        dh: like v.
        rows: from `gate_rows`, with inv and dnq of `ops.mlstm.pallas.backward.Cotangents` in the rows of these names.
        dC_BHKV, dn_BH1K: gradients of the state after the last chunk.
    """
    batch, heads, chunks, keys, values = C_BHNKV.shape
    length, wide = chunk.length, jnp.float32

    def kernel(q, k, v, dh, rows, C, n, dC_end, dn_end, dq, dk, dv, sums, dC_start, dn_start, dC, dn):
        @pl.when(pl.program_id(2) == 0)
        def _():
            dC[...], dn[...] = dC_end[...], dn_end[...]

        gates = Gates(rows[...], resets)
        q_LK, k_LK, v_LV, dh_LV, C_KV = q[...], k[...], v[...], dh[...], C[...]
        inv, dnq, g, last = (*(gates.columns[:, at : at + 1] for at in (INV, DNQ)), gates.before, gates.last)
        dC_KV, dn_1K, W_LL = dC[...], dn[...], gates.decay()
        narrow_dC = dC_KV.astype(C_KV.dtype)

        qk = product(q_LK, k_LK, chunk, over=(1, 1))
        dqk = (inv * product(dh_LV, v_LV, chunk, over=(1, 1)) + dnq) * W_LL
        through_q = inv * product(dh_LV, C_KV, chunk, over=(1, 1)) + dnq * n[...]
        dq[...] = (product(dqk.astype(q.dtype), k_LK, chunk) + g * through_q).astype(dq.dtype)
        through_k = product(v_LV, narrow_dC, chunk, over=(1, 1)) + dn_1K
        dk[...] = (product(dqk.astype(q.dtype), q_LK, chunk, over=(0, 0)) + last * through_k).astype(dk.dtype)
        scores = (qk * W_LL * inv).astype(dv.dtype)
        weighted = (last * k_LK.astype(wide)).astype(k.dtype)
        dv[...] = (product(scores, dh_LV, chunk, over=(0, 0)) + product(weighted, narrow_dC, chunk)).astype(dv.dtype)

        dscores = dqk * qk
        columns = [
            jnp.sum(dscores, axis=1, keepdims=True),
            jnp.sum(q_LK.astype(wide) * through_q, axis=1, keepdims=True),
            jnp.sum(k_LK.astype(wide) * through_k, axis=1, keepdims=True),
        ]
        dchunk = jnp.sum(jnp.sum(dC_KV * C_KV.astype(wide), axis=0, keepdims=True), axis=1, keepdims=True)
        dchunk += jnp.sum(dn_1K * n[...], axis=1, keepdims=True)
        by_row = [jnp.sum(dscores, axis=0, keepdims=True), jnp.broadcast_to(dchunk, (1, length))]
        sums[...] = _stacked(columns, by_row, length)

        weighted = q_LK.astype(wide) * (g * inv)
        dC[...] = gates.chunk * dC_KV + product(weighted.astype(q.dtype), dh_LV, chunk, over=(0, 0))
        dn[...] = gates.chunk * dn_1K + jnp.sum(q_LK.astype(wide) * (g * dnq), axis=0, keepdims=True)

        @pl.when(pl.program_id(2) == chunks - 1)
        def _():
            dC_start[...], dn_start[...] = dC[...], dn[...]

    at = blocks(chunks, backward=True)
    of_k, of_v = at("steps", length, keys), at("steps", length, values)
    of_state, of_states = (
        [at("head", keys, values), at("head", 1, keys)],
        [at("chunks", keys, values), at("chunks", 1, keys)],
    )
    like = jax.ShapeDtypeStruct
    return launch(
        kernel,
        "mlstm_tpu_backward",
        (batch, heads, chunks),
        [of_k, of_k, of_v, of_v, at("chunks", ROWS, length), *of_states, *of_state],
        [of_k, of_k, of_v, at("chunks", SUMS, length), *of_state],
        [
            *(like(a.shape, a.dtype) for a in (q, k, v)),
            like((batch, heads, chunks, SUMS, length), wide),
            *(like(a.shape, wide) for a in (dC_BHKV, dn_BH1K)),
        ],
        TPULaunch(scratch=((keys, values), (1, keys)), exact=chunk.exact, races=chunk.races),
        *(q, k, v, dh, rows, C_BHNKV, n_BHN1K, dC_BHKV, dn_BH1K),
        flops=2 * batch * heads * chunks * (length * length * (3 * keys + 2 * values) + 4 * length * keys * values),
    )


def _stacked(columns: list[jax.Array], rows: list[jax.Array], length: int) -> jax.Array:
    """Columns [L, 1] and then rows [1, L] as rows [8, L], by one transposition of all columns."""
    lane = jax.lax.broadcasted_iota(jnp.int32, (length, LANES), 1)
    wide = jnp.zeros((length, LANES), jnp.float32)
    for number, column in enumerate(columns):
        wide = jnp.where(lane == number, column, wide)
    stacked = wide.T[:SUMS]
    line = jax.lax.broadcasted_iota(jnp.int32, stacked.shape, 0)
    for number, one in enumerate(rows, len(columns)):
        stacked = jnp.where(line == number, one, stacked)
    return stacked
