"""The mLSTM's core on a sequence split over devices.

A range of steps maps the state S before it as S -> e^F S + own. F is its sum of log f, and own the state it produces
from an empty one. If the range has a reset, the result is just own. Each device computes this summary of its own steps,
an exclusive scan over devices yields the state before each part, and each device then runs its steps from there with
any implementation.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.gates import log_decay
from xlstm_jax.cells.mlstm import MLSTMState, stabiliser_gradient
from xlstm_jax.ops.context import Devices, over_devices
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.decays import Parts, log_forget

# Steps whose weighted keys are in memory at once.
PIECE = 256
_SEQUENCE, _STATE = P("batch", "time", "heads"), MLSTMState(*[P("batch", "heads")] * 3)
_einsum = functools.partial(jnp.einsum, precision="highest")


class Summary(NamedTuple):
    """How a range of steps maps the state before it."""

    own: MLSTMState  # m is minus infinity if nothing is written
    F: jax.Array  # [B, H]
    fresh: jax.Array  # [B, H] true if the range has no reset


def over_context(op: str, run, args, options: Options):
    """Calls `run(q, k, v, log_i, log_f, state, reset) -> (h, state)`, split over the mesh axis "context" if any."""

    def part(devices: Devices, q, k, v, log_i, log_f, state, reset):
        weight, m, F, fresh = _weights(log_i, log_f, reset, options)
        C, n, k, v = _written(weight, k, v)
        own, nothing = Summary(MLSTMState(C, n, m), F, fresh), jnp.zeros_like(F)
        first = Summary(state, nothing, nothing > 0)
        before = devices.before(functools.partial(combined, options=options), own, first)
        h, state = run(q, k, v, log_i, log_f, before.own, reset)
        return h, devices.of(devices.count - 1, state)

    specs = (*[_SEQUENCE] * 5, _STATE, P("batch", "time"))
    return over_devices(op, run, part, args, specs, (_SEQUENCE, _STATE))


def _weights(log_i, log_f, reset, options: Options):
    """Weight of each step's k v^T in the final state [B,T,H], in the scale of m [B,H]; then m, F and fresh.

    Like `chunk.written`, but without L x L arrays, so for any length: decays are summed from the end.
    """
    last = jnp.ones((1, 1, 1), bool)  # true if no reset follows a step, so it reaches the final state
    fresh = jnp.ones((1, 1), bool)
    if reset is not None:
        reset = reset.astype(jnp.int32)
        resets = jax.lax.cumsum(reset, axis=1, reverse=True)
        last, fresh = (resets == reset)[..., None], resets[:, :1] == 0
    b = log_forget(log_f).map(lambda part: jax.lax.cumsum(jnp.where(last, part, 0), axis=1, reverse=True))
    F = b.map(lambda part: part[:, 0]).total()
    # Exclude each step itself: sum only over the steps after it.
    b = b.map(lambda part: jnp.pad(part[:, 1:], ((0, 0), (0, 1), (0, 0))))

    def exponents(m=None):
        """D - m [B,T,H]; large parts are added first."""
        top, coarse, fine = b if m is None else b.minus(Parts.of(m[:, None]))
        return jnp.where(last, (top + coarse) + (fine + log_i), -jnp.inf)

    m = jnp.zeros_like(F)
    if options.stabilise:
        # After a reset m starts again from 0.
        restarted = jnp.where(fresh, -jnp.inf, F)
        m = stabiliser_gradient(jnp.maximum(jnp.max(exponents(), axis=1), restarted), options.eps)
    finite_m = jnp.where(m == -jnp.inf, jnp.zeros_like(m), m)
    return jnp.exp(exponents(finite_m)), m, F, jnp.broadcast_to(fresh, F.shape)


@custom_vjp("the mLSTM's core on a sequence split over devices")
def _written(weight, k, v):
    """C = sum_t weight_t k_t v_t^T and n = sum_t weight_t k_t. Also returns k and v, for use in what follows.

    The gradients of the returned k and v then reach this function's backward pass, which adds its own to them in
    place. No other array of the sequence's length is needed.
    """
    return _written_forward(weight, k, v)[0]


def _written_forward(weight, k, v):
    def add(sums, first, length):
        C, n = sums
        w_BLH, k_BLHK, v_BLHV = _cut((weight, k, v), first, length, weight.dtype)
        k_BLHK = w_BLH[..., None] * k_BLHK
        return C + _einsum("blhk,blhv->bhkv", k_BLHK, v_BLHV), n + jnp.sum(k_BLHK, axis=1)

    batch, time, heads, keys = k.shape
    zeros = jnp.zeros((batch, heads, keys, v.shape[-1]), weight.dtype), jnp.zeros((batch, heads, keys), weight.dtype)
    return (*_in_pieces(add, zeros, time), k, v), (weight, k, v)


def _written_backward(residuals, cotangents):
    dtype, time = residuals[0].dtype, residuals[0].shape[1]
    dC, dn, *gradients = cotangents

    def add(gradients, first, length):
        w_BLH, k_BLHK, v_BLHV = _cut(residuals, first, length, dtype)
        by_k = _einsum("bhkv,blhv->blhk", dC, v_BLHV) + dn[:, None]
        own = (
            jnp.sum(k_BLHK * by_k, axis=-1),
            w_BLH[..., None] * by_k,
            w_BLH[..., None] * _einsum("bhkv,blhk->blhv", dC, k_BLHK),
        )
        summed = jax.tree.map(jnp.add, _cut(gradients, first, length, dtype), own)
        return jax.tree.map(
            lambda whole, a: jax.lax.dynamic_update_slice_in_dim(whole, a.astype(whole.dtype), first, axis=1),
            gradients,
            summed,
        )

    return _in_pieces(add, (jnp.zeros_like(residuals[0]), *gradients), time)


_written.defvjp(_written_forward, _written_backward)


def _in_pieces(add, carry, time: int):
    """Calls `add(carry, first step, number of steps)` for PIECE steps at a time, then for the remainder."""
    pieces, rest = divmod(time, PIECE)
    if pieces:
        carry = jax.lax.fori_loop(0, pieces, lambda index, carry: add(carry, index * PIECE, PIECE), carry)
    return add(carry, pieces * PIECE, rest) if rest else carry


def _cut(arrays, first, length: int, dtype):
    return tuple(jax.lax.dynamic_slice_in_dim(a, first, length, axis=1).astype(dtype) for a in arrays)


def combined(one: Summary, two: Summary, options: Options) -> Summary:
    """The summary of two consecutive ranges of steps."""
    through = jnp.where(two.fresh, one.own.m + two.F, -jnp.inf)
    m = jnp.zeros_like(through)
    if options.stabilise:
        m = stabiliser_gradient(jnp.maximum(through, two.own.m), options.eps)
    scale = jnp.where(m == -jnp.inf, jnp.zeros_like(m), m)
    # Mask inside the exponential: masked outside it, an overflow would reach the gradient.
    decay = jnp.where(two.fresh, log_decay(two.F, one.own.m, scale), -jnp.inf)
    before, behind = jnp.exp(decay), jnp.exp(two.own.m - scale)
    C, n = (
        before.reshape(before.shape + rest) * a + behind.reshape(before.shape + rest) * b
        for a, b, rest in ((one.own.C, two.own.C, (1, 1)), (one.own.n, two.own.n, (1,)))
    )
    return Summary(MLSTMState(C, n, m), one.F + two.F, one.fresh & two.fresh)
