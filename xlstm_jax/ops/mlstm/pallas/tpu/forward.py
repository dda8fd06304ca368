"""The forward kernel: the outputs of all chunks, with the state on the chip from each chunk to the next."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.cells.mlstm import least_denominator
from xlstm_jax.ops.kernels import TPULaunch, launch
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import ROWS, Chunk, Gates, blocks, product, row


def forward(q, k, v, rows, C_BHKV, n_BH1K, chunk: Chunk, options: Options, scale: float, *, resets: bool, save: bool):
    """h [B,T,H V] in v's dtype, C and n after the last chunk, and with `save` what the backward pass needs.

    That is n.q [B,H,N,1,L], what rounding took from h (like h; of narrow dtypes, and if h is normalized), and the
    state before each chunk, C [B,H,N,K,V] in k's dtype and n [B,H,N,1,K].

    Args:
        q, k: [B, T, H K]; v: [B, T, H V]. T is a multiple of the chunk, K and V of 128.
        rows: from `gate_rows`.
        resets: whether there are any.
    """
    batch, heads, keys, values = C_BHKV.shape
    length, chunks = chunk.length, rows.shape[2]
    lossy = save and options.normalize and v.dtype != jnp.float32

    def kernel(q, k, v, rows, C_start, n_start, h, C_end, n_end, *others):
        *saved, C, n = others

        @pl.when(pl.program_id(2) == 0)
        def _():
            C[...], n[...] = C_start[...], n_start[...]

        gates = Gates(rows[...], resets)
        C_KV, n_1K, g, wide_k = C[...], n[...], gates.before, k[...].astype(jnp.float32)
        scores = product(q[...], k[...], chunk, over=(1, 1)) * gates.decay()
        numerator = product(scores.astype(v.dtype), v[...], chunk)
        # The state as it is between chunks for the backward pass too.
        numerator += g * product(q[...], C_KV.astype(k.dtype), chunk)
        sums = jnp.sum(scores, axis=1, keepdims=True)
        sums += g * jnp.sum(q[...].astype(jnp.float32) * n_1K, axis=1, keepdims=True)
        numerator, sums = scale * numerator, scale * sums
        if options.normalize:
            numerator = numerator / (jnp.maximum(jnp.abs(sums), least_denominator(gates.m)) + options.eps)
        rounded = numerator.astype(h.dtype)
        h[...] = rounded
        if save:
            nq, C_before, n_before, *lost = saved
            nq[...], C_before[...], n_before[...] = row(sums), C_KV.astype(k.dtype), n_1K
            for ref in lost:
                ref[...] = (numerator - rounded.astype(jnp.float32)).astype(ref.dtype)

        weighted = wide_k * gates.last
        C[...] = gates.chunk * C_KV + product(weighted.astype(k.dtype), v[...], chunk, over=(0, 0))
        n[...] = gates.chunk * n_1K + jnp.sum(weighted, axis=0, keepdims=True)

        @pl.when(pl.program_id(2) == chunks - 1)
        def _():
            C_end[...], n_end[...] = C[...], n[...]

    at = blocks(chunks)
    of_k, of_v = at("steps", length, keys), at("steps", length, values)
    of_state = [at("head", keys, values), at("head", 1, keys)]
    like = jax.ShapeDtypeStruct
    outputs = [
        (of_v, like(v.shape, v.dtype)),
        *zip(of_state, (like(a.shape, a.dtype) for a in (C_BHKV, n_BH1K)), strict=True),
    ]
    if save:
        per_chunk = (batch, heads, chunks)
        outputs += [
            (at("chunks", 1, length), like((*per_chunk, 1, length), jnp.float32)),
            (at("chunks", keys, values), like((*per_chunk, keys, values), k.dtype)),
            (at("chunks", 1, keys), like((*per_chunk, 1, keys), jnp.float32)),
        ]
        outputs += [outputs[0]] * lossy
    specs, shapes = map(list, zip(*outputs, strict=True))
    pairs = length * length
    return launch(
        kernel,
        "mlstm_tpu_forward",
        (batch, heads, chunks),
        [of_k, of_k, of_v, at("chunks", ROWS, length), *of_state],
        specs,
        shapes,
        TPULaunch(scratch=((keys, values), (1, keys)), exact=chunk.exact, races=chunk.races),
        *(q, k, v, rows, C_BHKV, n_BH1K),
        flops=2 * batch * heads * chunks * (pairs * (keys + values) + 2 * length * keys * values),
    )
