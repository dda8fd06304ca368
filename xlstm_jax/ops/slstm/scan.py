"""sLSTM by `lax.scan`, the gradient of the recurrent weights put off to one product after the loop."""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.cells.slstm import SLSTMState, empty_state, slstm_step
from xlstm_jax.ops.recurrence import masked_scan
from xlstm_jax.shapes import padding_mask


def scan(x, r, state, reset, lengths, *, input_gate, forget_gate):
    """y [B,T,H,D] and the final state. Heads lead inside the loop, so that y r is a plain batched product."""
    batch, time, gates, heads, width = x.shape
    x_THBE = jnp.transpose(x, (1, 3, 0, 2, 4)).reshape(time, heads, batch, gates * width).astype(state.c.dtype)
    r_HDE = jnp.transpose(r, (1, 2, 0, 3)).reshape(heads, width, gates * width)
    # One axis for heads, over which the masks are broadcast.
    reset_T1B = None if reset is None else reset.T[:, None, :]
    padding_T1B = None if lengths is None else padding_mask(lengths, time).T[:, None, :]
    state_HBD = SLSTMState(*(jnp.swapaxes(part, 0, 1) for part in state))
    y_THBD, state_HBD = _deferred(x_THBE, r_HDE, state_HBD, reset_T1B, padding_T1B, input_gate, forget_gate)
    return jnp.transpose(y_THBD, (2, 0, 1, 3)), SLSTMState(*(jnp.swapaxes(part, 0, 1) for part in state_HBD))


def _run(x_THBE, r_HDE, state_HBD, reset_T1B, padding_T1B, input_gate, forget_gate):
    def step(state: SLSTMState, x_HBE):
        y, dtype = state.y.astype(r_HDE.dtype), state.y.dtype
        recurrent = jnp.matmul(y, r_HDE, preferred_element_type=dtype, precision="highest")
        i, f, z, o = jnp.split(x_HBE + recurrent, 4, axis=-1)
        state = slstm_step(state, i, f, z, o, input_gate=input_gate, forget_gate=forget_gate)
        return state, state.y

    start = empty_state(state_HBD.c.shape, state_HBD.c.dtype)
    state_HBD, y_THBD = masked_scan(step, state_HBD, start, x_THBE, reset_TB=reset_T1B, padding_TB=padding_T1B)
    return y_THBD, state_HBD


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _deferred(x_THBE, r_HDE, state_HBD, reset_T1B, padding_T1B, input_gate, forget_gate):
    """`_run`, whose gradient of r is one product over all steps: pre = x + y r, so dr = sum_t y_{t-1} dpre_t, and
    dpre is x's own gradient. Plain autodiff would add a [D, 4D] product a step to a carried accumulator."""
    return _run(x_THBE, r_HDE, state_HBD, reset_T1B, padding_T1B, input_gate, forget_gate)


def _forward(x_THBE, r_HDE, state_HBD, reset_T1B, padding_T1B, input_gate, forget_gate):
    def run(x, state):
        return _run(x, r_HDE, state, reset_T1B, padding_T1B, input_gate, forget_gate)

    (y_THBD, after), pullback = jax.vjp(run, x_THBE, state_HBD)
    before_THBD = jnp.concatenate([state_HBD.y[None], y_THBD[:-1]])
    if reset_T1B is not None:
        before_THBD = jnp.where(reset_T1B[..., None], jnp.zeros_like(before_THBD), before_THBD)
    return (y_THBD, after), (pullback, before_THBD.astype(r_HDE.dtype), r_HDE)


def _backward(input_gate, forget_gate, residuals, cotangents):
    pullback, before_THBD, r_HDE = residuals
    dx_THBE, dstate_HBD = pullback(cotangents)
    dr_HDE = jnp.einsum("thbd,thbe->hde", before_THBD.astype(dx_THBE.dtype), dx_THBE, precision="highest")
    return dx_THBE, dr_HDE.astype(r_HDE.dtype), dstate_HBD, None, None


_deferred.defvjp(_forward, _backward)
