"""sLSTM by `lax.scan`, the gradient of the recurrent weights put off to one product after the loop."""

import functools

import jax
import jax.numpy as jnp

from xlstm_jax.cells.slstm import SLSTMState, empty_state, slstm_step
from xlstm_jax.ops.recurrence import masked_scan


def scan(x, r, state, reset, lengths, *, input_gate, forget_gate):
    """y [B,T,H,D] and the final state. Inside the loop the state lies as [B,H,D] with heads as a batch axis of y r."""
    batch, time, gates, heads, width = x.shape
    dtype = state.c.dtype
    x_TBHE = jnp.transpose(x, (1, 0, 3, 2, 4)).reshape(time, batch, heads, gates * width).astype(dtype)
    r_HDE = jnp.transpose(r, (1, 2, 0, 3)).reshape(heads, width, gates * width)
    y_TBHD, state = _deferred(x_TBHE, r_HDE, state, reset, lengths, input_gate, forget_gate)
    return jnp.swapaxes(y_TBHD, 0, 1), state


def _run(x_TBHE, r_HDE, state, reset, lengths, input_gate, forget_gate):
    def step(state: SLSTMState, x_BHE):
        recurrent = jnp.einsum(
            "bhd,hde->bhe", state.y.astype(r_HDE.dtype), r_HDE, preferred_element_type=state.y.dtype, precision="highest"
        )
        i, f, z, o = jnp.split(x_BHE + recurrent, 4, axis=-1)
        state = slstm_step(state, i, f, z, o, input_gate=input_gate, forget_gate=forget_gate)
        return state, state.y

    start = empty_state(state.c.shape, state.c.dtype)
    state, y_TBHD = masked_scan(step, state, start, x_TBHE, reset_BT=reset, lengths_B=lengths)
    return y_TBHD, state


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _deferred(x_TBHE, r_HDE, state, reset, lengths, input_gate, forget_gate):
    """`_run`, whose gradient of r is one product over all steps: pre = x + y r, so dr = sum_t y_{t-1} dpre_t, and
    dpre is x's own gradient. Plain autodiff would add a [D, 4D] product a step to a carried accumulator."""
    return _run(x_TBHE, r_HDE, state, reset, lengths, input_gate, forget_gate)


def _forward(x_TBHE, r_HDE, state, reset, lengths, input_gate, forget_gate):
    def run(x, state):
        return _run(x, r_HDE, state, reset, lengths, input_gate, forget_gate)

    (y_TBHD, after), pullback = jax.vjp(run, x_TBHE, state)
    before = jnp.concatenate([state.y[None], y_TBHD[:-1]])
    if reset is not None:
        before = jnp.where(reset.T[..., None, None], jnp.zeros_like(before), before)
    return (y_TBHD, after), (pullback, before.astype(r_HDE.dtype), r_HDE)


def _backward(input_gate, forget_gate, residuals, cotangents):
    pullback, before_TBHD, r_HDE = residuals
    dx_TBHE, dstate = pullback(cotangents)
    dr = jnp.einsum("tbhd,tbhe->hde", before_TBHD, dx_TBHE, precision="highest")
    return dx_TBHE, dr.astype(r_HDE.dtype), dstate, None, None


_deferred.defvjp(_forward, _backward)
