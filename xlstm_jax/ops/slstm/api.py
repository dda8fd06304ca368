"""The sLSTM op: checks arguments and selects an implementation."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import Gate
from xlstm_jax.cells.slstm import SLSTMState, empty_state
from xlstm_jax.checks import check_choice, checked, checked_carry, is_empty
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import Launch, where_compiled
from xlstm_jax.ops.slstm.pallas import pallas, unsupported
from xlstm_jax.ops.slstm.scan import scan
from xlstm_jax.shapes import state_dtype, zero_padding
from xlstm_jax.sharding import varying

IMPLEMENTATIONS = {"scan": scan, "pallas": pallas}
Implementation = Literal["scan", "pallas"] | Launch


def slstm(
    x_BTGHD: jax.Array,
    r_GHDD: jax.Array,
    *,
    state: SLSTMState | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
    input_gate: Gate = "exp",
    forget_gate: Gate = "sigmoid",
    implementation: Implementation | None = None,
) -> tuple[jax.Array, SLSTMState]:
    """sLSTM over a sequence: pre_g = x_t,g + y_{t-1} r_g for the gates g = i, f, z, o, then `cells.slstm.slstm_step`.

    Args:
        x_BTGHD: input pre-activations including the bias, gates in the order i, f, z, o.
        r_GHDD: recurrent weights, block-diagonal over heads: [gate, head, from, to].
        state: initial c, n, m, y, each [B,H,D]; None is empty (c, n, y zero, m minus infinity).
        reset_BT: true if the state becomes empty before that step.
        lengths_B: lengths under right padding. Padded steps leave the state unchanged and output zero.
        input_gate, forget_gate: "exp" or "sigmoid".
        implementation: "scan", "pallas" (GPU kernels, compiled for CUDA and interpreted on CPU; D up to 128; under a
            mesh, each device runs its part of the batch and heads, see `xlstm_jax.sharding`), `Launch(...)` (the
            kernels with these launch options, which may allow tf32), or None: the kernels on CUDA if they fit, else the
            scan. A named implementation never falls back to another.

    Returns:
        y [B, T, H, D] in x's dtype, and the final state, at least float32.

    Raises:
        UsageError: shapes that do not fit, or an unknown option.
    """
    arrays = {"x_BTGHD": x_BTGHD, "r_GHDD": r_GHDD, "reset_BT": reset_BT, "lengths_B": lengths_B}
    x_BTGHD, r_GHDD, reset_BT, lengths_B = checked("slstm", {"G": 4}, **arrays)
    options = {"input_gate": input_gate, "forget_gate": forget_gate}
    if isinstance(implementation, Launch):
        name, options["how"] = "pallas", implementation
    else:
        name = "scan" if implementation is None else implementation
    if name not in IMPLEMENTATIONS:
        raise UsageError(f"slstm implementation {name!r} is unknown; known: {', '.join(IMPLEMENTATIONS)}, or Launch()")
    for which, gate in (("input_gate", input_gate), ("forget_gate", forget_gate)):
        check_choice(which, gate, Gate)
    start = empty_state((x_BTGHD.shape[0], *x_BTGHD.shape[3:]), state_dtype(x_BTGHD))
    state = start if state is None else checked_carry("slstm", state, start, "state")
    if is_empty(x_BTGHD):
        return jnp.zeros((*x_BTGHD.shape[:2], *x_BTGHD.shape[3:]), x_BTGHD.dtype), state
    state = varying(state, x_BTGHD, r_GHDD, reset_BT, lengths_B)
    x_BTGHD = zero_padding(x_BTGHD, lengths_B)

    def run(name, *args):
        with jax.named_scope(f"slstm_{name}"):
            y_BTHD, state = IMPLEMENTATIONS[name](*args, **options)
        return y_BTHD.astype(x_BTGHD.dtype), state

    args, chosen = (x_BTGHD, r_GHDD, state, reset_BT, lengths_B), functools.partial(run, name)
    if implementation is None and state.c.dtype == jnp.float32 and not unsupported(x_BTGHD):
        return where_compiled(functools.partial(run, "pallas"), chosen, *args)
    return chosen(*args)
