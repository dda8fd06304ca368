"""The reference implementation: a scan of the cell over steps."""

import jax
import jax.numpy as jnp

from xlstm_jax.cells.mlstm import MLSTMState, mlstm_step
from xlstm_jax.ops.recurrence import masked_scan


def recurrent(q, k, v, log_i, log_f, state, reset, *, chunk_size, stabilise, normalize, eps):
    """h [B,T,H,V] and the final state by `lax.scan` over `mlstm_step`; `chunk_size` is ignored."""
    del chunk_size

    def step(state: MLSTMState, inputs):
        return mlstm_step(state, *inputs, stabilise=stabilise, normalize=normalize, eps=eps)

    u_TB = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (q, k, v, log_i, log_f))
    reset_TB = None if reset is None else reset.T
    state, h_TBHV = masked_scan(step, state, jax.tree.map(jnp.zeros_like, state), u_TB, reset_TB=reset_TB)
    return jnp.swapaxes(h_TBHV, 0, 1), state
