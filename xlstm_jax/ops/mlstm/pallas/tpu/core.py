"""Both kernels as one function with an exact gradient. The gates are computed outside, in XLA."""

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import padded
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.decays import Parts
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors
from xlstm_jax.ops.mlstm.pallas.normalizer import through_normalizer
from xlstm_jax.ops.mlstm.pallas.tpu.backward import DBEFORE, DCHUNK, DCOLUMN, DLAST, DROW, backward
from xlstm_jax.ops.mlstm.pallas.tpu.blocks import LANES, MOST_STEPS, Chunk, gate_rows
from xlstm_jax.ops.mlstm.pallas.tpu.forward import forward


def core(chunk: Chunk, options: Options, scale: float, q, k, v, exponents: Exponents, factors: Factors, C, n):
    """h [B,T,H,V] in v's dtype, and the final C and n in float32; T is in whole chunks. K and V are padded to 128s."""
    if chunk.length > MOST_STEPS:
        raise UsageError(f"mlstm implementation {chunk} has chunks of more than {MOST_STEPS} steps, the most on a TPU")
    keys, values = q.shape[-1], v.shape[-1]
    q, k, v, n = (padded(a, -1, LANES) for a in (q, k, v, n))
    C = padded(padded(C, -1, LANES), -2, LANES)
    h, C, n = _core(chunk, options, scale, q, k, v, exponents, factors, C, n)
    return h[..., :values], C[..., :keys, :values], n[..., :keys]


@custom_vjp(
    "the kernels of the mLSTM's core",
    instead="implementation='recurrent'",
    reverse_alone=True,
    nondiff_argnums=(0, 1, 2),
)
def _core(chunk, options, scale, q, k, v, exponents, factors, C, n):
    return _run(chunk, options, scale, q, k, v, exponents, factors, C, n, save=False)[0]


def _run(chunk, options, scale, q, k, v, exponents, factors, C, n, *, save):
    rows = gate_rows(exponents, factors, chunk.length, exponents.m)
    flat, resets = map(_flat, (q, k, v)), exponents.segment is not None
    h, C, n, *saved = forward(*flat, rows, C, n[:, :, None], chunk, options, scale, resets=resets, save=save)
    return (h.reshape(v.shape), C, n[:, :, 0]), (h, saved)


def _forward(chunk, options, scale, *args):
    results, saved = _run(chunk, options, scale, *args, save=True)
    return results, (*args[:5], saved)


def _backward(chunk, options, scale, residuals, cotangents):
    q, k, v, exponents, factors, (h, (nq, C_before, n_before, *lost)) = residuals
    dh, dC, dn = cotangents
    rest = lost[0].reshape(v.shape) if lost else None
    nq_BHT = nq.reshape(exponents.m.shape)
    of, dm = through_normalizer(options, scale, dh, h.reshape(v.shape), rest, nq_BHT, exponents.m)
    rows = gate_rows(exponents, factors, chunk.length, of.inv, of.dnq)
    states, resets = (C_before, n_before, dC, dn[:, :, None]), exponents.segment is not None
    dq, dk, dv, sums, dC, dn = backward(*map(_flat, (q, k, v, of.dh)), rows, *states, chunk, resets=resets)
    drow, dbefore, dlast, dcolumn = (
        sums[:, :, :, at].reshape(exponents.m.shape) for at in (DROW, DBEFORE, DLAST, DCOLUMN)
    )
    dexponents = Exponents(Parts(None, None, drow), Parts(None, None, dcolumn), dm, segment=None)
    gradients = (dq.reshape(q.shape), dk.reshape(k.shape), dv.reshape(v.shape))
    return *gradients, dexponents, Factors(dbefore, dlast, sums[:, :, :, DCHUNK, 0]), dC, dn[:, :, 0]


_core.defvjp(_forward, _backward)


def _flat(a_BTHF: jax.Array) -> jax.Array:
    """[B, T, H F]: XLA would lay out four axes anew for the kernel."""
    return jnp.reshape(a_BTHF, (*a_BTHF.shape[:2], -1))
