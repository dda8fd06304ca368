"""The mLSTM's core over devices that each have a part of the sequence: states by their associative law.

Some steps act on the state S before them as S -> e^F S + own, F their sum of log f, own what they make of an empty
state; own alone where a reset stands among them. Each device makes this of its own steps at once, an exclusive scan
over the devices gives the state before each, and from there each runs its steps by any implementation.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from xlstm_jax.cells.mlstm import MLSTMState, stabiliser_gradient
from xlstm_jax.ops.context import Devices, over_devices
from xlstm_jax.ops.mlstm.chunk import Options, split_decays

_SEQUENCE, _STATE = P("batch", "time", "heads"), MLSTMState(*[P("batch", "heads")] * 3)


class Summary(NamedTuple):
    """What some steps do to the state before them."""

    own: MLSTMState  # m is minus infinity where nothing is written
    F: jax.Array  # [B, H]
    fresh: jax.Array  # [B, H] no reset among them: the state before gets through


def over_context(op: str, run, args, options: Options):
    """`run(q, k, v, log_i, log_f, state, reset) -> (h, state)`, split over the mesh's "context" where there is one."""

    def part(devices: Devices, q, k, v, log_i, log_f, state, reset):
        # What is kept for the backward pass is the inputs, which stand in memory anyway.
        own = jax.checkpoint(functools.partial(summary, options=options))(k, v, log_i, log_f, reset)
        nothing = jnp.zeros_like(state.m)
        first = Summary(state, nothing, nothing > 0)
        combine = functools.partial(combined, options=options)
        h, state = run(q, k, v, log_i, log_f, devices.before(combine, own, first).own, reset)
        return h, devices.of(devices.count - 1, state)

    specs = (*[_SEQUENCE] * 5, _STATE, P("batch", "time"))
    return over_devices(op, run, part, args, specs, (_SEQUENCE, _STATE))


def summary(k, v, log_i, log_f, reset, options: Options) -> Summary:
    """Of steps [B, T, ...]: what `chunk.written` gives of a chunk, of any length, without its square."""
    dtype = log_f.dtype
    last = jnp.ones((1, 1, 1), bool)  # no reset behind a step, so that the state after all of them knows it
    fresh = jnp.ones((1, 1), bool)
    if reset is not None:
        resets = jax.lax.cumsum(reset.astype(jnp.int32), axis=1, reverse=True)
        last, fresh = (resets == reset)[..., None], resets[:, :1] == 0
    coarse, fine = (jax.lax.cumsum(jnp.where(last, part, 0), axis=1, reverse=True) for part in split_decays(log_f))
    F = coarse[:, 0] + fine[:, 0]
    # Of the steps behind each.
    coarse, fine = (jnp.pad(part[:, 1:], ((0, 0), (0, 1), (0, 0))) for part in (coarse, fine))
    m = jnp.zeros_like(F)
    if options.stabilise:
        D = jnp.where(last, coarse + (fine + log_i), -jnp.inf)
        # After a reset m starts again from 0.
        restarted = jnp.where(fresh, -jnp.inf, F)
        m = stabiliser_gradient(jnp.maximum(jnp.max(D, axis=1), restarted), options.eps)
    scale = jnp.where(m == -jnp.inf, jnp.zeros_like(m), m)[:, None]
    weight = jnp.exp(jnp.where(last, (coarse - scale) + (fine + log_i), -jnp.inf))
    k_weighted = weight[..., None] * k.astype(dtype)
    C = jnp.einsum("bthk,bthv->bhkv", k_weighted, v.astype(dtype), precision="highest")
    return Summary(MLSTMState(C, jnp.sum(k_weighted, axis=1), m), F, jnp.broadcast_to(fresh, F.shape))


def combined(one: Summary, two: Summary, options: Options) -> Summary:
    """Of the steps of both, one after the other."""
    through = jnp.where(two.fresh, one.own.m + two.F, -jnp.inf)
    m = jnp.zeros_like(through)
    if options.stabilise:
        m = stabiliser_gradient(jnp.maximum(through, two.own.m), options.eps)
    scale = jnp.where(m == -jnp.inf, jnp.zeros_like(m), m)
    # Minus infinity inside the exponential: outside it, an overflow would reach the gradient.
    before, behind = jnp.exp(through - scale), jnp.exp(two.own.m - scale)
    C, n = (
        before.reshape(before.shape + rest) * a + behind.reshape(before.shape + rest) * b
        for a, b, rest in ((one.own.C, two.own.C, (1, 1)), (one.own.n, two.own.n, (1,)))
    )
    return Summary(MLSTMState(C, n, m), one.F + two.F, one.fresh & two.fresh)
