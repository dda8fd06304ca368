"""Linear recurrences with one scalar gate per head: retention, gated linear attention, Mamba-2's SSD.

Each is the mLSTM's matrix memory without stabiliser and normalizer:

    S_t = f_t S_{t-1} + i_t k_t v_t^T        o_t = S_t^T q_t        f_t > 0, i_t >= 0, one scalar per head and step

They run on every implementation of the mLSTM's core, with exact gradients, and differ only in how f and i are computed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells.gates import shut
from xlstm_jax.cells.mlstm import zero_state
from xlstm_jax.checks import checked
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.mlstm.api import Implementation, run_core
from xlstm_jax.shapes import state_dtype, zero_padding


class _Options(NamedTuple):
    """Options of the core, apart from the arrays."""

    reset_BT: jax.Array | None
    lengths_B: jax.Array | None
    chunk_size: int | None
    implementation: Implementation | None


def retention(
    q_BTHK: jax.Array,
    k_BTHK: jax.Array,
    v_BTHV: jax.Array,
    *,
    log_decay_H: jax.Array | None = None,
    state: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
    chunk_size: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Retention: S_t = gamma S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, with a fixed decay gamma per head.

    Sun et al. 2023 (arXiv 2307.08621), section 2.1, equation 6. The caller does the rest: the rotation of q and k
    (xPos, the e^(i n theta) of equation 5) before, group norm and gate (equation 8) after. The factors of "retention
    score normalization" are left out. q is not scaled.

    Args:
        q_BTHK, k_BTHK, v_BTHV: queries, keys, values: float32, bfloat16 or float64.
        log_decay_H: log gamma, at most 0, may be minus infinity; None is log(1 - 2^(-5 - h)) for head h = 0, 1, ...
            (equation 8).
        state: initial S [B,H,K,V]; None is zero.
        reset_BT: true if the state becomes zero before that step; nothing earlier reaches that step or later ones.
        lengths_B: lengths under right padding. Padded steps leave the state unchanged and output zero.
        chunk_size, implementation: as for `mlstm`.

    Returns:
        o [B, T, H, V] in v's dtype, and the final S [B, H, K, V], at least float32.

    Raises:
        UsageError: shapes that do not fit, or an unknown implementation.
    """
    options = _Options(reset_BT, lengths_B, chunk_size, implementation)
    arrays = {"q_BTHK": q_BTHK, "k_BTHK": k_BTHK, "v_BTHV": v_BTHV, "log_decay_H": log_decay_H}
    (q_BTHK, k_BTHK, v_BTHV, log_decay_H, state), options = _checked(
        "retention", arrays | {"state_BHKV": state}, options
    )
    if log_decay_H is None:
        # In NumPy's float64: in float32, 1 - 2^-25 would be 1.
        log_decay_H = np.log1p(-(2.0 ** (-5.0 - np.arange(q_BTHK.shape[2]))))
    log_f_BTH = jnp.broadcast_to(jnp.asarray(log_decay_H, state_dtype(q_BTHK, k_BTHK, v_BTHV)), q_BTHK.shape[:3])
    o_BTHV, state = _linear("retention", q_BTHK, k_BTHK, v_BTHV, log_f_BTH, state, options)
    return o_BTHV.astype(v_BTHV.dtype), state


def gated_linear_attention(
    q_BTHK: jax.Array,
    k_BTHK: jax.Array,
    v_BTHV: jax.Array,
    log_f_BTH: jax.Array,
    *,
    state: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
    chunk_size: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Linear attention with a data-dependent scalar gate: S_t = f_t S_{t-1} + k_t v_t^T, o_t = S_t^T q_t.

    Yang et al. 2023 (arXiv 2312.06635), section 4.1, with their vector gate alpha_t restricted to one number per head.
    f = 1 is linear attention without normalizer. q is not scaled.

    Args:
        q_BTHK, k_BTHK, v_BTHV: queries, keys, values: float32, bfloat16 or float64.
        log_f_BTH: log of the gate, at most 0, such as the log sigmoid of a pre-activation; minus infinity shuts it.
        state, reset_BT, lengths_B, chunk_size, implementation: as for `retention`.

    Returns:
        o [B, T, H, V] in v's dtype, and the final S [B, H, K, V], at least float32.

    Raises:
        UsageError: shapes that do not fit, or an unknown implementation.
    """
    options = _Options(reset_BT, lengths_B, chunk_size, implementation)
    arrays = {"q_BTHK": q_BTHK, "k_BTHK": k_BTHK, "v_BTHV": v_BTHV, "log_f_BTH": log_f_BTH}
    (q_BTHK, k_BTHK, v_BTHV, log_f_BTH, state), options = _checked(
        "gated_linear_attention", arrays | {"state_BHKV": state}, options
    )
    o_BTHV, state = _linear("gated_linear_attention", q_BTHK, k_BTHK, v_BTHV, log_f_BTH, state, options)
    return o_BTHV.astype(v_BTHV.dtype), state


def ssd(
    x_BTHP: jax.Array,
    dt_BTH: jax.Array,
    A_H: jax.Array,
    B_BTGN: jax.Array,
    C_BTGN: jax.Array,
    D_H: jax.Array | None = None,
    *,
    state: jax.Array | None = None,
    reset_BT: jax.Array | None = None,
    lengths_B: jax.Array | None = None,
    chunk_size: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Mamba-2's state space model: S_t = e^(dt_t A) S_{t-1} + dt_t B_t x_t^T, y_t = S_t^T C_t + D x_t.

    Dao & Gu 2024 (arXiv 2405.21060), equation 2 with one scalar A per head. "parallel" is the quadratic dual form of
    section 5, "chunkwise" the block decomposition of section 6; heads and groups are as in section 7. P is the number
    of features per head, N of the state, G the number of groups: group g of B and C serves the H/G heads from g H/G on.

    Args:
        x_BTHP: inputs: float32, bfloat16 or float64, like B and C.
        dt_BTH: step sizes, positive; the caller applies softplus and bias. A step of size 0 writes nothing.
        A_H: negative decay rates, may be minus infinity.
        B_BTGN, C_BTGN: input and output maps.
        D_H: skip connection; None for none.
        state: initial S [B,H,N,P]; None is zero.
        reset_BT, lengths_B, chunk_size, implementation: as for `retention`.

    Returns:
        y [B, T, H, P] in x's dtype, and the final S [B, H, N, P], at least float32.

    Raises:
        UsageError: shapes that do not fit, a G that does not divide H, or an unknown implementation.
    """
    options = _Options(reset_BT, lengths_B, chunk_size, implementation)
    arrays = {"x_BTHP": x_BTHP, "dt_BTH": dt_BTH, "A_H": A_H, "B_BTGN": B_BTGN, "C_BTGN": C_BTGN, "D_H": D_H}
    (x_BTHP, dt_BTH, A_H, B_BTGN, C_BTGN, D_H, state), options = _checked(
        "ssd", arrays | {"state_BHNP": state}, options
    )
    heads, groups = x_BTHP.shape[2], B_BTGN.shape[2]
    if groups < 1 or heads % groups:
        raise UsageError(f"ssd got {groups} groups for {heads} heads; the number of groups must divide that of heads")
    dtype = state_dtype(x_BTHP, B_BTGN, C_BTGN)
    # Before x and dt are multiplied: a NaN in the padding would reach the gradient of the other factor.
    x_BTHP, dt_BTH = (zero_padding(a, options.lengths_B) for a in (x_BTHP, dt_BTH))
    dt_BTH = dt_BTH.astype(dtype)
    # Finite, because minus infinity times a dt or a gradient of 0 would be NaN.
    A_H = jnp.maximum(A_H.astype(dtype), jnp.finfo(dtype).min)
    log_f_BTH = dt_BTH * A_H[None, None]
    # dt is applied as an input gate: multiplied into x, the product would be rounded to x's dtype.
    positive = dt_BTH > 0
    log_dt_BTH = jnp.where(positive, jnp.log(jnp.where(positive, dt_BTH, 1)), -jnp.inf)
    C_BTHN, B_BTHN = (jnp.repeat(a, heads // groups, axis=2) for a in (C_BTGN, B_BTGN))
    y_BTHP, state = _linear("ssd", C_BTHN, B_BTHN, x_BTHP, log_f_BTH, state, options, log_dt_BTH)
    if D_H is not None:
        y_BTHP = y_BTHP + D_H.astype(dtype)[None, None, :, None] * x_BTHP.astype(dtype)
    return y_BTHP.astype(x_BTHP.dtype), state


def _linear(op, q_BTHK, k_BTHK, v_BTHV, log_f_BTH, state, options, log_i_BTH=None) -> tuple[jax.Array, jax.Array]:
    """o [B,T,H,V] in the state's dtype, and the final S. A log i of None means 0, an open gate."""
    batch, _, heads, keys = q_BTHK.shape
    dtype = state_dtype(q_BTHK, k_BTHK, v_BTHV)
    log_f_BTH = shut(zero_padding(log_f_BTH, options.lengths_B).astype(dtype))
    start = zero_state((batch,), heads, keys, v_BTHV.shape[-1], dtype)
    if state is not None:
        start = start._replace(C=state.astype(dtype))
    o_BTHV, end = run_core(
        op,
        q_BTHK,
        k_BTHK,
        v_BTHV,
        jnp.zeros_like(log_f_BTH) if log_i_BTH is None else log_i_BTH,
        log_f_BTH,
        start,
        options.reset_BT,
        options.lengths_B,
        chunk_size=options.chunk_size,
        implementation=options.implementation,
        stabilise=False,
        normalize=False,
        eps=0.0,
    )
    # Undo the core's scaling of q by 1/sqrt(K), in the state's dtype: q may be narrower.
    return o_BTHV * keys**0.5, end.C


def _checked(op: str, arrays: dict, options: _Options) -> tuple[tuple, _Options]:
    """Checks arrays and options together."""
    *arrays, reset_BT, lengths_B = checked(op, **arrays, reset_BT=options.reset_BT, lengths_B=options.lengths_B)
    return tuple(arrays), options._replace(reset_BT=reset_BT, lengths_B=lengths_B)
