"""sLSTM by `lax.scan` over pieces of steps, with a custom backward pass.

A step's gates, and so its whole derivative except for the recurrent product, follow from its input and the state before
it. Only that state is stored. The backward pass recomputes the gates of a piece of steps together, then goes back
through the steps with one product per step, dy_{t-1} = dpre_t r^T. It computes dx = dpre and dr = sum_t y_{t-1} dpre_t
once per piece. Plain autodiff would store every intermediate of every step and add a [D, 4D] product per step to dr.
"""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.gates import Gate
from xlstm_jax.cells.slstm import SLSTMState, empty_state, slstm_step
from xlstm_jax.ops.recurrence.scan import Steps, in_pieces, masked_scan, select
from xlstm_jax.shapes import padding_mask

# Steps per piece, whose arrays stay in cache. 16 to 64 are about equally fast, 256 is 10% slower.
PIECE = 32


def scan(x, r, state, reset, lengths, *, input_gate: Gate, forget_gate: Gate):
    """y [B,T,H,D] and the final state. Inside the loop heads come first, so that y r is a plain batched product."""
    time, dtype = x.shape[1], state.c.dtype
    r_HDE = jnp.transpose(r, (1, 2, 0, 3)).reshape(*r.shape[1:3], -1)
    # Add an axis for heads, over which the masks broadcast.
    reset_T1B = None if reset is None else reset.T[:, None, :]
    padding_T1B = None if lengths is None else padding_mask(lengths, time).T[:, None, :]
    # Cast to the state's dtype outside the loop, so that gradients of narrower weights accumulate in it.
    wide_HDE = r_HDE.astype(dtype)

    def run(state, steps):
        return _piece(input_gate, forget_gate, r_HDE.dtype, wide_HDE, state, steps)

    state = SLSTMState(*(jnp.swapaxes(part, 0, 1) for part in state))
    y_THBD, state = in_pieces(run, PIECE, Steps(x, reset_T1B, padding_T1B), state, reverse=False)
    return jnp.transpose(y_THBD, (2, 0, 1, 3)), SLSTMState(*(jnp.swapaxes(part, 0, 1) for part in state))


@custom_vjp("the sLSTM's scan", nondiff_argnums=(0, 1, 2))
def _piece(input_gate, forget_gate, narrow, r_HDE, state, steps):
    """(state, y [L,H,B,D]) of one piece of steps; products take r and y in the dtype `narrow`."""
    return _forward(input_gate, forget_gate, narrow, r_HDE, state, steps)[0]


def _forward(input_gate, forget_gate, narrow, r_HDE, state, steps):
    r_HDE = r_HDE.astype(narrow)

    def step(before: SLSTMState, x_HBE):
        recurrent = jnp.matmul(
            before.y.astype(narrow), r_HDE, precision="highest", preferred_element_type=before.y.dtype
        )
        state = _gated(before, x_HBE + recurrent, input_gate, forget_gate)
        return state, (state.y, before)

    masks = {"reset_TB": steps.reset_TB, "padding_TB": steps.padding_TB}
    start = empty_state(state.c.shape, state.c.dtype)
    state, (y_LHBD, before) = masked_scan(step, state, start, _heads_first(steps.x_BTD, state.c.dtype), **masks)
    return (state, y_LHBD), (r_HDE, before, steps)


def _gated(state: SLSTMState, pre_HBE, input_gate, forget_gate) -> SLSTMState:
    return slstm_step(state, *jnp.split(pre_HBE, 4, axis=-1), input_gate=input_gate, forget_gate=forget_gate)


def _backward(input_gate, forget_gate, narrow, residuals, cotangents):
    r_HDE, before, steps = residuals
    dtype = before.c.dtype
    # Rounded as in the forward pass, but in the wide dtype: XLA's CPU backend lacks this bfloat16 product.
    y_LHBD, r_HDE = before.y.astype(narrow).astype(dtype), r_HDE.astype(dtype)
    recurrent = jnp.einsum("lhbd,hde->lhbe", y_LHBD, r_HDE, precision="highest")

    def derivative(before, pre):
        return jax.vjp(functools.partial(_gated, input_gate=input_gate, forget_gate=forget_gate), before, pre)[1]

    pullbacks_L = jax.vmap(derivative)(before, _heads_first(steps.x_BTD, dtype) + recurrent)
    r_HED = jnp.swapaxes(r_HDE, 1, 2)

    def step(dafter, inputs):
        pullback, dy, reset, padding = inputs
        none = jax.tree.map(jnp.zeros_like, dafter)
        dstate = dafter._replace(y=dafter.y + dy)
        dbefore, dpre = pullback(dstate if padding is None else select(padding, none, dstate))
        # y enters the step only through the recurrent product.
        dbefore = dbefore._replace(y=jnp.matmul(dpre, r_HED, precision="highest"))
        if reset is not None:
            dbefore = select(reset, none, dbefore)
        return dbefore if padding is None else select(padding, dafter, dbefore), dpre

    dstate, dy_LHBD = cotangents
    # Not unrolled: two or four steps per iteration took 10% to 33% longer.
    inputs = pullbacks_L, dy_LHBD, steps.reset_TB, steps.padding_TB
    dstate, dpre_LHBE = jax.lax.scan(step, dstate, inputs, reverse=True)
    dr_HDE = jnp.einsum("lhbd,lhbe->hde", y_LHBD, dpre_LHBE, precision="highest")
    dx_LHBGD = dpre_LHBE.reshape(*dpre_LHBE.shape[:-1], 4, -1)
    return dr_HDE, dstate, Steps(jnp.transpose(dx_LHBGD, (2, 0, 3, 1, 4)).astype(steps.x_BTD.dtype))


_piece.defvjp(_forward, _backward)


def _heads_first(x_BLGHD, dtype):
    """[B, L, G, H, D] -> [L, H, B, G D]."""
    batch, length, gates, heads, width = x_BLGHD.shape
    return jnp.transpose(x_BLGHD, (1, 3, 0, 2, 4)).reshape(length, heads, batch, gates * width).astype(dtype)
