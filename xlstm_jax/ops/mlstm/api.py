"""The mLSTM op: checks arguments, takes gates to log space, applies padding to them, selects an implementation."""

import functools
import logging
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import Gate, log_gate
from xlstm_jax.cells.mlstm import MLSTMState, zero_state
from xlstm_jax.checks import check_sizes, checked, checked_carry, is_empty
from xlstm_jax.config import NonNegativeFloat, check_value
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import where_compiled
from xlstm_jax.ops.mlstm.associative import CHUNK, GROUP, associative
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.chunkwise import SINGLE_CHUNK, chunkwise, parallel
from xlstm_jax.ops.mlstm.context import over_context
from xlstm_jax.ops.mlstm.pallas import Chunk, Tiles, pallas, unsupported
from xlstm_jax.ops.mlstm.recurrent import recurrent
from xlstm_jax.shapes import is_known, padding_mask, state_dtype, zero_padding
from xlstm_jax.sharding import varying

# Each takes (q, k, v, log_i, log_f, state, reset, *, chunk_size, stabilise, normalize, eps) and returns (h, state).
IMPLEMENTATIONS = {
    "recurrent": recurrent,
    "parallel": parallel,
    "chunkwise": chunkwise,
    "associative": associative,
    "pallas": pallas,
}
Implementation = Literal["recurrent", "parallel", "chunkwise", "associative", "pallas"] | Tiles | Chunk


def mlstm(
    q_BTHK: jax.Array,
    k_BTHK: jax.Array,
    v_BTHV: jax.Array,
    i_BTH: jax.Array,
    f_BTH: jax.Array,
    *,
    state: MLSTMState | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
    input_gate: Gate = "exp",
    forget_gate: Gate = "sigmoid",
    normalize: bool = True,
    eps: float = 0.0,
    chunk_size: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[jax.Array, MLSTMState]:
    """mLSTM over a sequence. The equations of one step are those of `cells.mlstm.mlstm_step`.

    If the mesh axis "context" splits time, each device runs its own steps (`ops.mlstm.context`).

    Args:
        q_BTHK, k_BTHK, v_BTHV: queries (scaled by 1/sqrt(K) here), keys, values: float32, bfloat16 or float64.
        i_BTH, f_BTH: gate pre-activations.
        state: initial C [B,H,K,V], n [B,H,K], m [B,H]; None is zero.
        reset_BT: true if the state becomes zero before that step; nothing earlier reaches that step or later ones.
        lengths_B: lengths under right padding. Padded steps leave the state unchanged and output zero.
        input_gate: "exp" or "sigmoid". With "sigmoid", m stays 0 and the denominator is max(|n.q|, 1) + eps.
        forget_gate: "sigmoid" or "exp".
        normalize: divide by the normalizer. False requires the sigmoid input gate.
        eps: added to the denominator in the stabilised scale, as in published checkpoints (1e-6 there).
        chunk_size: for "chunkwise", "associative" and "pallas" (rounded up to a multiple of 16 there, on TPU of
            128, up to 512); None chooses from T. Any T works with any chunk size.
        implementation: A named implementation never falls back to another.
            "recurrent": a scan of the cell, the reference.
            "parallel": quadratic in T.
            "chunkwise": linear in T.
            "associative": several chunks at once, their states by an associative scan.
            "pallas": chunkwise kernels, compiled for CUDA and TPU; on CPU, those for CUDA are interpreted. K and V up
            to 512. Under a mesh, each device runs its part of the batch and heads (`xlstm_jax.sharding`).
            `Tiles(...)`: the kernels for CUDA with these tiles, which may allow tf32. `Chunk(...)`: those for TPU.
            None: "pallas" on CUDA and TPU if it fits, else chosen from T by what was fastest on CPU
            (`experiments.bench --suite=mlstm`).

    Returns:
        h [B, T, H, V] in v's dtype, and the final state, at least float32.

    Raises:
        UsageError: shapes that do not fit, an unknown option, `normalize=False` with the exponential input gate, or a T
            that the number of devices along the mesh axis "context" does not divide.
    """
    if not normalize and input_gate == "exp":
        raise UsageError("normalize=False needs input_gate='sigmoid': unnormalized, an exponential gate is unbounded")
    check_value(NonNegativeFloat, eps, "mlstm eps")
    arrays = {"q_BTHK": q_BTHK, "k_BTHK": k_BTHK, "v_BTHV": v_BTHV, "i_BTH": i_BTH, "f_BTH": f_BTH}
    masks = {"reset_BT": reset_BT, "lengths_B": lengths_B}
    q_BTHK, k_BTHK, v_BTHV, i_BTH, f_BTH, reset_BT, lengths_B = checked("mlstm", **arrays, **masks)
    batch, _, heads, keys = q_BTHK.shape
    dtype = state_dtype(q_BTHK, k_BTHK, v_BTHV)
    i_BTH, f_BTH = (zero_padding(gate, lengths_B).astype(dtype) for gate in (i_BTH, f_BTH))
    start = zero_state((batch,), heads, keys, v_BTHV.shape[-1], dtype)
    state = start if state is None else checked_carry("mlstm", state, start, "state")
    h_BTHV, state = run_core(
        "mlstm",
        q_BTHK,
        k_BTHK,
        v_BTHV,
        log_gate(i_BTH, input_gate, "input_gate"),
        log_gate(f_BTH, forget_gate, "forget_gate"),
        state,
        reset_BT,
        lengths_B,
        chunk_size=chunk_size,
        implementation=implementation,
        stabilise=input_gate == "exp",
        normalize=normalize,
        eps=eps,
    )
    return h_BTHV.astype(v_BTHV.dtype), state


def run_core(
    op, q, k, v, log_i, log_f, state, reset, lengths, *, chunk_size, implementation, **options
) -> tuple[jax.Array, MLSTMState]:
    """Runs the named or chosen implementation: h [B,T,H,V] in the state's dtype, and the final state.

    `op` is the op's name for messages. A padded step has zero q, k and v, writes and forgets nothing, ignores resets
    and outputs zero.

    Raises:
        UsageError: an unknown implementation, a chunk size below 1, or a T that the mesh's "context" does not divide.
    """
    if chunk_size is not None:
        check_sizes(op, chunk_size=chunk_size)
    if not isinstance(implementation, Tiles | Chunk) and implementation not in (None, *IMPLEMENTATIONS):
        known = ", ".join(IMPLEMENTATIONS)
        raise UsageError(f"{op} implementation {implementation!r} is unknown; known: {known}, or Tiles(...)")
    if is_empty(q):
        return jnp.zeros((*q.shape[:3], v.shape[-1]), state.C.dtype), state
    state = varying(state, q, k, v, log_i, log_f, reset, lengths)
    q, k, v = (zero_padding(a, lengths) for a in (q, k, v))
    if lengths is not None:
        padding = padding_mask(lengths, q.shape[1])
        reset = None if reset is None else reset & ~padding
        log_i = jnp.where(padding[..., None], -jnp.inf, log_i)
        log_f = jnp.where(padding[..., None], jnp.zeros_like(log_f), log_f)

    def named(name, *args, **tiles):
        # The scope's name appears in the compiled program, where profiles and tests read which implementation ran.
        with jax.named_scope(f"{op}_{name}"):
            h, state = IMPLEMENTATIONS[name](*args, chunk_size=chunk_size, **options, **tiles)
        return h.astype(state.C.dtype), state

    def run(*args):
        """Chooses by the length of these arguments, which under "context" are one device's part."""
        q, k, v = args[:3]
        if not is_known(q.shape[1]):
            return named(_of_any_length(op, implementation), *args)
        if isinstance(implementation, Tiles | Chunk):
            return named("pallas", *args, tiles=implementation)
        if implementation is not None:
            return named(implementation, *args)
        chosen = functools.partial(named, _choose(op, q.shape[1]))
        if args[5].C.dtype != jnp.float32 or unsupported(q, k, v):
            return chosen(*args)
        return where_compiled(functools.partial(named, "pallas"), chosen, *args, platforms=("cuda", "tpu"))

    h, state = over_context(op, run, (q, k, v, log_i, log_f, state, reset), Options(**options))
    return zero_padding(h, lengths), state


def _of_any_length(op: str, implementation) -> str:
    """The implementation for a symbolic T of `jax.export`: "recurrent", since the others split the sequence."""
    if implementation not in (None, "recurrent"):
        raise UsageError(
            f"{op} implementation {implementation!r} needs a known number of steps, got a symbolic one; use "
            "'recurrent' or None"
        )
    return "recurrent"


@functools.cache
def _choose(op: str, time: int) -> str:
    name = "recurrent" if time == 1 else "associative" if SINGLE_CHUNK < time <= CHUNK * GROUP else "chunkwise"
    logging.getLogger(__name__).info("%s at T = %d: %s; on CUDA and TPU pallas", op, time, name)
    return name
