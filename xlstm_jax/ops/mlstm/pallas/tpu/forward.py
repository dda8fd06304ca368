"""The forward kernel: the outputs of all chunks, with the state on the chip from each chunk to the next."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.cells.mlstm import least_denominator
from xlstm_jax.ops.kernels import TPULaunch, launch
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import (
    BEFORE,
    LAST,
    ROWS,
    Chunk,
    Gates,
    blocks,
    inverse,
    product,
    repeated,
    row,
    sum_of_rows,
    tiles,
    weighted_sum,
)


def forward(q, k, v, rows, C_BHKV, n_BH1K, chunk: Chunk, options: Options, scale: float, *, resets: bool, save: bool):
    """h [B,T,H V] in v's dtype, C and n after the last chunk, and with `save` what the backward pass needs.

    That is n.q [B,H,N,1,L], what rounding took from h (like h; of narrow dtypes, and if h is normalized), and the
    state before each chunk, C [B,H,N,K,V] in k's dtype and n [B,H,N,1,K].

    Args:
        q, k: [B, T, H K]; v: [B, T, H V]. T is a multiple of `group` chunks, K and V of 128.
        rows: from `gate_rows`, with m as the other row.
        resets: whether there are any.
    """
    batch, heads, keys, values = C_BHKV.shape
    length, chunks, group = chunk.length, rows.shape[2], chunk.group
    turns = chunks // group
    lossy = save and options.normalize and v.dtype != jnp.float32

    def one_chunk(q, k, v, rows, h, saved, C, n):
        gates, C_KV, n_1K = Gates(rows[...], resets), C[...], n[...]
        narrow_C = C_KV.astype(k.dtype)  # as it is between chunks for the backward pass too
        if save:
            nq, C_before, n_before, *lost = saved
            C_before[...], n_before[...] = narrow_C, n_1K
        for now in tiles(length):
            q_TK, seen, before = q[now], slice(0, now.stop), gates.column(BEFORE, now)
            scores = product(q_TK, k[seen], chunk, over=(1, 1)) * gates.decay(now)
            numerator = product(scores.astype(v.dtype), v[seen], chunk)
            numerator += repeated(before, values) * product(q_TK, narrow_C, chunk)
            sums = scale * sum_of_rows(scores, repeated(before, keys) * (q_TK.astype(jnp.float32) * n_1K))
            factor = jnp.full_like(sums, scale)
            if options.normalize:
                bound = least_denominator(gates.column(ROWS, now))
                factor *= inverse(jnp.maximum(jnp.abs(sums), bound) + options.eps)
            result = repeated(factor, values) * numerator
            h[now] = result.astype(h.dtype)
            if save:
                nq[:, now] = row(sums)
                for ref in lost:
                    ref[now] = (result - h[now].astype(jnp.float32)).astype(ref.dtype)

        last = gates.row(LAST)
        weighted = (k[...].T.astype(jnp.float32) * last).astype(k.dtype)
        C[...] = gates.chunk * C_KV + product(weighted, v[...], chunk)
        n[...] = gates.chunk * n_1K + weighted_sum(last, k[...], chunk)

    def kernel(q, k, v, rows, C_start, n_start, h, C_end, n_end, *others):
        *saved, C, n = others

        @pl.when(pl.program_id(2) == 0)
        def _():
            C[...], n[...] = C_start[...], n_start[...]

        for at in range(group):
            steps = pl.ds(at * length, length)
            of_chunk = [*(ref.at[at] for ref in saved[:3]), *(ref.at[steps] for ref in saved[3:])]
            one_chunk(*(ref.at[steps] for ref in (q, k, v)), rows.at[at], h.at[steps], of_chunk, C, n)

        @pl.when(pl.program_id(2) == turns - 1)
        def _():
            C_end[...], n_end[...] = C[...], n[...]

    at = blocks(turns)
    of_k, of_v = at("steps", group * length, keys), at("steps", group * length, values)
    of_state = [at("head", keys, values), at("head", 1, keys)]
    like = jax.ShapeDtypeStruct
    outputs = [
        (of_v, like(v.shape, v.dtype)),
        *zip(of_state, (like(a.shape, a.dtype) for a in (C_BHKV, n_BH1K)), strict=True),
    ]
    if save:
        per_chunk = (batch, heads, chunks)
        outputs += [
            (at("chunks", group, 1, length), like((*per_chunk, 1, length), jnp.float32)),
            (at("chunks", group, keys, values), like((*per_chunk, keys, values), k.dtype)),
            (at("chunks", group, 1, keys), like((*per_chunk, 1, keys), jnp.float32)),
        ]
        outputs += [outputs[0]] * lossy
    specs, shapes = map(list, zip(*outputs, strict=True))
    pairs = length * length
    return launch(
        kernel,
        "mlstm_tpu_forward",
        (batch, heads, turns),
        [of_k, of_k, of_v, at("chunks", group, rows.shape[3], length), *of_state],
        specs,
        shapes,
        TPULaunch(scratch=((keys, values), (1, keys)), exact=chunk.exact, races=chunk.races),
        *(q, k, v, rows, C_BHKV, n_BH1K),
        flops=2 * batch * heads * chunks * (pairs * (keys + values) + 2 * length * keys * values),
    )
