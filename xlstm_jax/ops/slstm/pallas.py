"""sLSTM as Pallas kernels: one program per head and 16 sequences runs all steps with its recurrent matrices on chip.

The forward kernel returns y and the state before each step. The backward kernel goes back through the steps with one
product per step, dy_{t-1} = sum_g dpre_g r_g^T, and returns dpre, which is dx. The pre-activations and dr are one large
product each, computed in XLA.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.sharding import PartitionSpec as P

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.slstm import SLSTMState, empty_state, slstm_step
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import LEAST, Launch, launch, missing, padded, power_of_two, product
from xlstm_jax.ops.recurrence import select
from xlstm_jax.shapes import padding_mask
from xlstm_jax.sharding import on_each_device

# Most bytes of a head's four recurrent matrices: more does not fit on the chip with a program's other data.
MOST = 128 * 1024


def unsupported(x) -> str:
    """Why the kernels cannot run heads of this size; empty if they can. float64 (interpreted) counts as 32 bits."""
    if 4 * power_of_two(x.shape[-1]) ** 2 * min(x.dtype.itemsize, 4) <= MOST:
        return missing()
    return (
        f"got heads of {x.shape[-1]} features in {x.dtype}; it takes at most 128 in bfloat16 and 64 in float32; use "
        "implementation='scan'"
    )


def pallas(x, r, state, reset, lengths, *, input_gate, forget_gate, how: Launch | None = None):
    """y [B,T,H,D] and the final state; under a mesh, each device runs its part of the batch and heads.

    B is padded to a multiple of 16, D to a power of two of at least 16.

    Raises:
        UsageError: heads wider than 128 features in bfloat16, or than 64 in float32.
    """
    if why := unsupported(x):
        raise UsageError(f"slstm implementation 'pallas' {why}")
    run = functools.partial(_local, gates=(input_gate, forget_gate), how=how)
    state_spec = SLSTMState(*[P("batch", "heads")] * 4)
    specs = (P("batch", None, None, "heads"), P(None, "heads"), state_spec, P("batch"), P("batch"))
    return on_each_device(run, (x, r, state, reset, lengths), specs, (P("batch", None, "heads"), state_spec))


def _local(x, r, state, reset, lengths, *, gates, how):
    batch, time, _, _, width = x.shape
    wide = power_of_two(width)
    how = how or Launch(warps=8 if wide == 128 else 4)
    padding = None if lengths is None else padding_mask(lengths, time)
    masks = tuple(None if mask is None else padded(mask.astype(jnp.int32), 0, LEAST) for mask in (reset, padding))
    x = padded(padded(x, 0, LEAST), -1, wide)
    r = padded(padded(r.astype(x.dtype), -1, wide), -2, wide)
    state = jax.tree.map(lambda a: padded(padded(a, 0, LEAST), -1, wide), state)
    y, state = _core(how, gates, x, r, state, masks)
    return y[:batch, ..., :width], jax.tree.map(lambda a: a[:batch, ..., :width], state)


@custom_vjp("the sLSTM's kernels", instead="implementation='scan'", reverse_alone=True, nondiff_argnums=(0, 1))
def _core(how, gates, x, r, state, masks):
    """y [B,T,H,D] in x's dtype and the final state. `masks` are reset and padding [B,T] as ints, nonzero for true."""
    (y, state), _ = _forward(how, gates, x, r, state, masks)
    return y, state


def _gated(memory, pre, gates) -> SLSTMState:
    """A step from c, n, m and the four full pre-activations; y enters only through these."""
    state = SLSTMState(*memory, y=jnp.zeros_like(memory[0]))
    return slstm_step(state, *pre, input_gate=gates[0], forget_gate=gates[1])


def _blocks(x_BTGHD, masks):
    """Block specs of x, of sequences like y, of r, of a state and of the masks, for programs (head, rows)."""
    _, time, gates, _, width = x_BTGHD.shape
    x = pl.BlockSpec((LEAST, time, gates, None, width), lambda h, b: (b, 0, 0, h, 0))
    y = pl.BlockSpec((LEAST, time, None, width), lambda h, b: (b, 0, h, 0))
    r = pl.BlockSpec((gates, None, width, width), lambda h, b: (0, h, 0, 0))
    state = pl.BlockSpec((LEAST, None, width), lambda h, b: (b, h, 0))
    mask = pl.BlockSpec((LEAST, time), lambda h, b: (b, 0))
    return x, y, r, SLSTMState(*[state] * 4), tuple(None if given is None else mask for given in masks)


def _forward(how, gates, x, r, state, masks):
    batch, time, _, heads, width = x.shape
    wide = state.c.dtype

    def kernel(x, r, start, masks, y, before, end):
        reset, padding = masks
        matrices = [r[gate] for gate in range(4)]
        empty = empty_state(start.c.shape, wide)

        def step(t, kept: SLSTMState):
            state = kept if reset is None else select(reset[:, t] != 0, empty, kept)
            for saved, part in zip(before, state[:3], strict=True):
                saved[:, t, :] = part
            h = state.y.astype(x.dtype)
            pre = [x[:, t, gate, :].astype(wide) + product(h, matrices[gate], how) for gate in range(4)]
            state = _gated(state[:3], pre, gates)
            out = state.y
            if padding is not None:
                is_padding = padding[:, t] != 0
                state, out = select(is_padding, (kept, jnp.zeros_like(out)), (state, out))
            y[:, t, :] = out.astype(y.dtype)
            return state

        last = jax.lax.fori_loop(0, time, step, SLSTMState(*(part[...] for part in start)))
        for part, value in zip(end, last, strict=True):
            part[...] = value

    of_x, of_y, of_r, of_state, of_masks = _blocks(x, masks)
    sequence = jax.ShapeDtypeStruct((batch, time, heads, width), wide)
    y, before, end = launch(
        kernel,
        "slstm_forward",
        (heads, batch // LEAST),
        [of_x, of_r, of_state, of_masks],
        [of_y, [of_y] * 3, of_state],
        [
            jax.ShapeDtypeStruct(sequence.shape, x.dtype),
            [sequence] * 3,
            jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, wide), state),
        ],
        how,
        *(x, r, state, masks),
        flops=2 * x.size * width,
    )
    return (y, end), (x, r, state.y, y, before, masks)


def _backward(how, gates, residuals, cotangents):
    x, r, first_y, y, before, masks = residuals
    dy, dend = cotangents
    batch, time, _, heads, _ = x.shape
    wide = dend.c.dtype
    # Recompute the forward pass's products all at once, with y rounded as it was there.
    h = jnp.concatenate([first_y.astype(x.dtype)[:, None], y[:, :-1]], axis=1).astype(wide)
    if masks[0] is not None:
        h = jnp.where(masks[0][..., None, None] != 0, jnp.zeros_like(h), h)
    pre = x.astype(wide) + jnp.einsum("bthd,ghde->btghe", h, r.astype(wide), precision="highest")

    def kernel(pre, r, before, dy, dend, masks, dpre, dstart):
        reset, padding = masks
        matrices = [r[gate] for gate in range(4)]

        def step(turn, kept: SLSTMState):
            t = time - 1 - turn
            dstate = kept._replace(y=kept.y + dy[:, t, :].astype(wide))
            none = jax.tree.map(jnp.zeros_like, kept)
            if padding is not None:
                is_padding = padding[:, t] != 0
                dstate = select(is_padding, none, dstate)
            memory, gated = tuple(part[:, t, :] for part in before), [pre[:, t, gate, :] for gate in range(4)]
            dmemory, dgated = jax.vjp(functools.partial(_gated, gates=gates), memory, gated)[1](dstate)
            for gate in range(4):
                dpre[:, t, gate, :] = dgated[gate]
            back = [product(a.astype(r.dtype), b, how, trans_b=True) for a, b in zip(dgated, matrices, strict=True)]
            dbefore = SLSTMState(*dmemory, y=sum(back))
            if reset is not None:
                dbefore = select(reset[:, t] != 0, none, dbefore)
            return dbefore if padding is None else select(is_padding, kept, dbefore)

        first = jax.lax.fori_loop(0, time, step, SLSTMState(*(part[...] for part in dend)))
        for part, value in zip(dstart, first, strict=True):
            part[...] = value

    of_x, of_y, of_r, of_state, of_masks = _blocks(x, masks)
    dpre, dstart = launch(
        kernel,
        "slstm_backward",
        (heads, batch // LEAST),
        [of_x, of_r, [of_y] * 3, of_y, of_state, of_masks],
        [of_x, of_state],
        [jax.ShapeDtypeStruct(pre.shape, wide), jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, wide), dend)],
        how,
        *(pre, r, before, dy, dend, masks),
        flops=2 * pre.size * x.shape[-1],
    )
    dr = jnp.einsum("bthd,btghe->ghde", h, dpre, precision="highest")
    return dpre.astype(x.dtype), dr.astype(r.dtype), dstart, (None, None)


_core.defvjp(_forward, _backward)
