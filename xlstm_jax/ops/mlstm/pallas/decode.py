"""One step in one kernel. Decoding is bound by memory bandwidth, so the state is read once and written once."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.mlstm import MLSTMState, least_denominator, mlstm_step, step_gates
from xlstm_jax.ops.kernels import Launch, launch, padded, power_of_two
from xlstm_jax.ops.mlstm.chunk import Options

# Columns of C per program, each over all of K.
COLUMNS = 32


@custom_vjp(
    "the kernels of the mLSTM's core", instead="implementation='recurrent'", reverse_alone=True, nondiff_argnums=(0,)
)
def step(options: Options, q, k, v, log_i, log_f, state: MLSTMState):
    """`cells.mlstm.mlstm_step` as a kernel: h [B,H,V] and the next state. The gradient is that of `mlstm_step`."""
    keys, values = q.shape[-1], v.shape[-1]
    wide, scale = state.C.dtype, keys**-0.5
    log_i, log_f = log_i.astype(wide), log_f.astype(wide)
    m, *gates = step_gates(state.m, log_i, log_f, stabilise=options.stabilise, eps=options.eps)
    gates = jnp.stack([*gates, least_denominator(m)], axis=-1)

    def kernel(q, k, v, gates, C, n, h, C_after, n_after):
        f, rest, i, bound = (gates[index] for index in range(4))
        q_K, k_K = scale * q[...].astype(wide), i * k[...].astype(wide)
        n_K, C_KV = n[...], C[...]
        n_K = f * n_K + (rest * n_K + k_K)
        C_KV = f * C_KV + (rest * C_KV + k_K[:, None] * v[...].astype(wide)[None, :])
        out = jnp.sum(q_K[:, None] * C_KV, axis=0)
        if options.normalize:
            out = out / (jnp.maximum(jnp.abs(jnp.sum(q_K * n_K)), bound) + options.eps)
        h[...], C_after[...], n_after[...] = out.astype(h.dtype), C_KV, n_K

    K, V = power_of_two(keys), min(power_of_two(values), COLUMNS)
    q, k, n = (padded(a, -1, K) for a in (q, k, state.n))
    v, C = padded(v, -1, V), padded(padded(state.C, -1, V), -2, K)
    batch, heads, _ = q.shape

    def at(*shape: int, tiled: bool = False):
        def place(b, h, j):
            return b, h, *(0,) * (len(shape) - tiled), *((j,) if tiled else ())

        return pl.BlockSpec((None, None, *shape), place)

    of_C, of_n, of_v = at(K, V, tiled=True), at(K), at(V, tiled=True)
    h, C, n = launch(
        kernel,
        "mlstm_step",
        (batch, heads, v.shape[-1] // V),
        [of_n, of_n, of_v, at(4), of_C, of_n],
        [of_v, of_C, of_n],
        [
            jax.ShapeDtypeStruct(v.shape, v.dtype),
            jax.ShapeDtypeStruct(C.shape, wide),
            jax.ShapeDtypeStruct(n.shape, wide),
        ],
        Launch(),
        *(q, k, v, gates, C, n),
    )
    return h[..., :values], MLSTMState(C=C[..., :keys, :values], n=n[..., :keys], m=m)


def _forward(options, *args):
    return step(options, *args), args


def _backward(options, args, cotangents):
    def plain(q, k, v, log_i, log_f, state):
        state, h = mlstm_step(state, q, k, v, log_i, log_f, **options._asdict())
        return h.astype(v.dtype), state

    return jax.vjp(plain, *args)[1](cotangents)


step.defvjp(_forward, _backward)
