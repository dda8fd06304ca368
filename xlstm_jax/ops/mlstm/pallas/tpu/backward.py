"""The backward kernel: all gradients of a chunk at once, with that of the state on the chip from each chunk to the one
before. The equations are those of `ops.mlstm.pallas.backward`."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.ops.kernels import TPULaunch, launch
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import (
    BEFORE,
    LAST,
    ROWS,
    Chunk,
    Gates,
    blocks,
    product,
    repeated,
    row,
    sum_of_rows,
    tiles,
    weighted_sum,
)

# Rows of gates that the forward kernel does not have, and rows of sums.
INV, DNQ = ROWS, ROWS + 1
DROW, DBEFORE, DLAST, DCOLUMN, DCHUNK = range(5)


def backward(q, k, v, dh, rows, C_BHNKV, n_BHN1K, dC_BHKV, dn_BH1K, chunk: Chunk, *, resets: bool):
    """dq, dk and dv like q, k and v; sums by step [B,H,N,8,L]; and the gradients of the first C and n.

    The rows of sums are those above, dchunk at every step.

    Args:
        q, k, v, C_BHNKV, n_BHN1K: as of the forward kernel, with the states before each chunk.
        dh: like v.
        rows: from `gate_rows`, with inv and dnq of `ops.mlstm.pallas.backward.Cotangents` as the other rows.
        dC_BHKV, dn_BH1K: gradients of the state after the last chunk.
    """
    batch, heads, chunks, keys, values = C_BHNKV.shape
    length, group, wide = chunk.length, chunk.group, jnp.float32
    turns = chunks // group

    def one_chunk(q, k, v, dh, rows, C, n, dq, dk, dv, sums, dC, dn):
        gates, C_KV, n_1K, dC_KV, dn_1K = Gates(rows[...], resets), C[...], n[...], dC[...], dn[...]
        narrow_dC, steps = dC_KV.astype(C_KV.dtype), tiles(length)
        of_k = {s.start: jnp.zeros((s.stop - s.start, keys), wide) for s in steps}
        of_v = {s.start: jnp.zeros((s.stop - s.start, values), wide) for s in steps}
        of_s = {s.start: jnp.zeros((1, s.stop - s.start), wide) for s in steps}
        for now in steps:
            q_TK, dh_TV, seen = q[now], dh[now], slice(0, now.stop)
            inv, dnq, before = (gates.column(at, now) for at in (INV, DNQ, BEFORE))
            weights = gates.decay(now)
            qk = product(q_TK, k[seen], chunk, over=(1, 1))
            dqk = repeated(inv, now.stop) * product(dh_TV, v[seen], chunk, over=(1, 1)) + repeated(dnq, now.stop)
            dqk *= weights
            scores = (qk * weights * repeated(inv, now.stop)).astype(dv.dtype)
            through_C = repeated(inv, keys) * product(dh_TV, C_KV, chunk, over=(1, 1)) + repeated(dnq, keys) * n_1K
            narrow = dqk.astype(q.dtype)
            dq[now] = (product(narrow, k[seen], chunk) + repeated(before, keys) * through_C).astype(dq.dtype)
            dscores = dqk * qk
            sums[DROW : DROW + 1, now] = row(sum_of_rows(dscores))
            sums[DBEFORE : DBEFORE + 1, now] = row(sum_of_rows(q_TK.astype(wide) * through_C))
            for s in tiles(now.stop):
                of_k[s.start] += product(narrow[:, s], q_TK, chunk, over=(0, 0))
                of_v[s.start] += product(scores[:, s], dh_TV, chunk, over=(0, 0))
                of_s[s.start] += jnp.sum(dscores[:, s], axis=0, keepdims=True)
        for s in steps:
            k_SK, last = k[s].astype(wide), repeated(gates.column(LAST, s), keys)
            through_C = product(v[s], narrow_dC, chunk, over=(1, 1)) + dn_1K
            dk[s] = (of_k[s.start] + last * through_C).astype(dk.dtype)
            weighted = (last * k_SK).astype(k.dtype)
            dv[s] = (of_v[s.start] + product(weighted, narrow_dC, chunk)).astype(dv.dtype)
            sums[DLAST : DLAST + 1, s] = row(sum_of_rows(k_SK * through_C))
            sums[DCOLUMN : DCOLUMN + 1, s] = of_s[s.start]
        dchunk = jnp.sum(jnp.sum(dC_KV * C_KV.astype(wide), axis=0, keepdims=True), axis=1, keepdims=True)
        dchunk += jnp.sum(dn_1K * n_1K, axis=1, keepdims=True)
        sums[DCHUNK : DCHUNK + 1] = jnp.broadcast_to(dchunk, (1, length))

        before, inv, dnq = (gates.row(at) for at in (BEFORE, INV, DNQ))
        weighted = (q[...].T.astype(wide) * (before * inv)).astype(q.dtype)
        dC[...] = gates.chunk * dC_KV + product(weighted, dh[...], chunk)
        dn[...] = gates.chunk * dn_1K + weighted_sum(before * dnq, q[...], chunk)

    def kernel(q, k, v, dh, rows, C, n, dC_end, dn_end, dq, dk, dv, sums, dC_start, dn_start, dC, dn):
        @pl.when(pl.program_id(2) == 0)
        def _():
            dC[...], dn[...] = dC_end[...], dn_end[...]

        for at in reversed(range(group)):
            steps = pl.ds(at * length, length)
            read = [*(ref.at[steps] for ref in (q, k, v, dh)), *(ref.at[at] for ref in (rows, C, n))]
            one_chunk(*read, *(ref.at[steps] for ref in (dq, dk, dv)), sums.at[at], dC, dn)

        @pl.when(pl.program_id(2) == turns - 1)
        def _():
            dC_start[...], dn_start[...] = dC[...], dn[...]

    at = blocks(turns, backward=True)
    for_k, for_v = at("steps", group * length, keys), at("steps", group * length, values)
    of_state, of_states = (
        [at("head", keys, values), at("head", 1, keys)],
        [at("chunks", group, keys, values), at("chunks", group, 1, keys)],
    )
    like = jax.ShapeDtypeStruct
    return launch(
        kernel,
        "mlstm_tpu_backward",
        (batch, heads, turns),
        [for_k, for_k, for_v, for_v, at("chunks", group, rows.shape[3], length), *of_states, *of_state],
        [for_k, for_k, for_v, at("chunks", group, ROWS, length), *of_state],
        [
            *(like(a.shape, a.dtype) for a in (q, k, v)),
            like((batch, heads, chunks, ROWS, length), wide),
            *(like(a.shape, wide) for a in (dC_BHKV, dn_BH1K)),
        ],
        TPULaunch(scratch=((keys, values), (1, keys)), exact=chunk.exact, races=chunk.races),
        *(q, k, v, dh, rows, C_BHNKV, n_BHN1K, dC_BHKV, dn_BH1K),
        flops=2 * batch * heads * chunks * (length * length * (3 * keys + 2 * values) + 4 * length * keys * values),
    )
