"""The parallel and chunkwise forms: quadratic inside a chunk, recurrent between chunks (`chunk`)."""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.mlstm import MLSTMState
from xlstm_jax.ops.mlstm.chunk import Options, advance

DEFAULT_CHUNK = 64
# Up to this T, one chunk is faster than several on CPU: states between chunks cost more than the larger square.
SINGLE_CHUNK = 128


def parallel(q, k, v, log_i, log_f, state, reset, *, chunk_size, **options):
    """The whole sequence as one chunk with T x T scores; `chunk_size` is ignored."""
    del chunk_size
    return chunkwise(q, k, v, log_i, log_f, state, reset, chunk_size=q.shape[1], **options)


def chunkwise(q, k, v, log_i, log_f, state, reset, *, chunk_size, **options):
    """Chunks of `chunk_size` steps, one after another; memory grows with T, not with T times L."""
    time = q.shape[1]
    if chunk_size is None:
        chunk_size = time if time <= SINGLE_CHUNK else DEFAULT_CHUNK
    run = functools.partial(advance, options=Options(**options))
    return piecewise(run, (q, k, v, log_i, log_f, reset), state, min(chunk_size, time))


def piecewise(run, inputs, state: MLSTMState, length: int):
    """h [B,T,H,V] and the final state; applies `run(state, inputs of `length` steps) -> (state, h)` piece by piece."""
    time = inputs[0].shape[1]
    state, inputs = no_constant(state, *inputs[1:3]), whole_pieces(inputs, length)
    if time <= length:
        state, h_BTHV = run(state, inputs)
    else:
        h_BTHV, state = _scanned(inputs, state, run, length)
    return h_BTHV[:, :time], state


def no_constant(state: MLSTMState, k, v) -> MLSTMState:
    """Returns the state unchanged, in a form that XLA cannot recognise as a constant.

    XLA's CPU backend (jaxlib 0.10.2 to 0.12.0) reads uninitialised memory when it fuses a product with an array of one
    constant, such as an initial state of zeros, with an adjacent sum. The result may be NaN.
    """
    zero_BHK, zero_BHV = (jnp.minimum(jnp.abs(jax.lax.stop_gradient(a[:, 0]).astype(state.C.dtype)), 0) for a in (k, v))
    C = state.C + (zero_BHK[..., :, None] + zero_BHV[..., None, :])
    return MLSTMState(C=C, n=state.n + zero_BHK, m=state.m)


def whole_pieces(inputs, length):
    """Pads T of (q, k, v, log i, log f, reset) [B, T, ...] to whole pieces with steps that write and forget nothing."""
    missing = -inputs[0].shape[1] % length

    def padded(a, fill=0):
        return jnp.pad(a, [(0, 0), (0, missing)] + [(0, 0)] * (a.ndim - 2), constant_values=fill)

    if not missing:
        return inputs
    q, k, v, log_i, log_f, reset = inputs
    return *map(padded, (q, k, v)), padded(log_i, -jnp.inf), padded(log_f), None if reset is None else padded(reset)


@custom_vjp("the mLSTM's core in chunks", instead="implementation='recurrent'", nondiff_argnums=(2, 3))
def _scanned(inputs, state, run, length):
    """Scans `run` over pieces. Each piece is sliced from the whole arrays and written back into them, forward and
    backward, so no piecewise copy is in memory. The backward pass keeps only the states before each piece."""
    return _forward(inputs, state, run, length)[0]


def _forward(inputs, state, run, length):
    v_BTHV = inputs[2]

    def step(carry, index):
        state, h_BTHV = carry
        after, h_BLHV = run(state, _cut(inputs, index, length))
        return (after, _paste(h_BTHV, h_BLHV, index)), state

    start = state, jnp.zeros_like(v_BTHV, state.C.dtype)
    (state, h_BTHV), before = jax.lax.scan(step, start, jnp.arange(v_BTHV.shape[1] // length))
    return (h_BTHV, state), (inputs, before)


def _backward(run, length, residuals, cotangents):
    """Goes from the last piece to the first and recomputes each from the state before it."""
    (*arrays, reset), before = residuals
    dh_BTHV, dafter = cotangents

    def step(carry, inputs):
        dstate, gradients = carry
        index, state = inputs
        *piece, piece_reset, dh_BLHV = _cut((*arrays, reset, dh_BTHV), index, length)
        _, pullback = jax.vjp(lambda state, *piece: run(state, (*piece, piece_reset)), state, *piece)
        dstate, *dpiece = pullback((dstate, dh_BLHV))
        return (dstate, [_paste(*pair, index) for pair in zip(gradients, dpiece, strict=True)]), None

    start = dafter, jax.tree.map(jnp.zeros_like, arrays)
    (dstate, gradients), _ = jax.lax.scan(step, start, (jnp.arange(before.m.shape[0]), before), reverse=True)
    return (*gradients, None), dstate


_scanned.defvjp(_forward, _backward)


def _cut(arrays, index, length):
    """Piece number `index` of each array [B, T, ...]; None stays None."""
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, index * length, length, axis=1), arrays)


def _paste(whole, piece, index):
    return jax.lax.dynamic_update_slice_in_dim(whole, piece, index * piece.shape[1], axis=1)
