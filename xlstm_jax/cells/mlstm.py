"""mLSTM: matrix memory with a covariance update and exponential gating, without recurrent connections."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells.base import CELLS, Cell, CellParams, affine
from xlstm_jax.cells.gates import HeadsConfig, exp_and_rest, log_decay, log_gate, next_stabiliser


class MLSTMState(NamedTuple):
    """State of an mLSTM. m is a gauge: only C e^m and n e^m have meaning."""

    C: jax.Array  # [..., H, K, V] matrix memory, scaled by e^-m
    n: jax.Array  # [..., H, K]    normalizer, scaled by e^-m
    m: jax.Array  # [..., H]       stabiliser


def zero_state(batch_shape: tuple[int, ...], heads: int, keys: int, values: int, dtype=jnp.float32) -> MLSTMState:
    """The state before the first step and after a reset: all zeros."""
    return MLSTMState(
        C=jnp.zeros((*batch_shape, heads, keys, values), dtype),
        n=jnp.zeros((*batch_shape, heads, keys), dtype),
        m=jnp.zeros((*batch_shape, heads), dtype),
    )


@jax.custom_jvp
def _divide(x: jax.Array, y: jax.Array) -> jax.Array:
    return x / y


@_divide.defjvp
def _divide_jvp(primals, tangents):
    # JAX's own rule computes x * y^-2, which overflows if y is the smallest normal number, the guard in `normalized`.
    (x, y), (dx, dy) = primals, tangents
    ratio = _divide(x, y)
    return ratio, (dx - ratio * dy) / clamped(y)


def clamped(denominator: jax.Array) -> jax.Array:
    """The denominator for derivatives: at least a little above the guard in `normalized`.

    At the guard itself, 1 / denominator overflows as soon as it is summed over features.
    """
    return jnp.maximum(denominator, 2.0**16 * jnp.finfo(denominator.dtype).tiny)


def normalized(numerator: jax.Array, nq: jax.Array, m: jax.Array, eps: float) -> jax.Array:
    """h = numerator / (max(|n.q|, e^-m) + eps); numerator [..., V], nq and m [...].

    The denominator is at least the smallest normal number, to avoid 0/0 if e^-m underflows. With m = 0 it is the
    sigmoid gate's max(|n.q|, 1).
    """
    return _divide(numerator, (jnp.maximum(jnp.abs(nq), least_denominator(m)) + eps)[..., None])


def least_denominator(m: jax.Array) -> jax.Array:
    """max(e^-m, smallest normal number). If e^-m overflows it is infinite with gradient 0, and h is 0."""
    info = jnp.finfo(m.dtype)
    finite = m > -float(np.log(info.max))
    bound = jnp.where(finite, jnp.exp(-jnp.where(finite, m, jnp.zeros_like(m))), jnp.inf)
    return jnp.maximum(bound, info.tiny)


def stabiliser_gradient(m: jax.Array, eps: float) -> jax.Array:
    """m, without its gradient if eps = 0. That is exact: h and the meaning of the state then do not depend on m.

    Dropping the gradient also avoids the rounding error of large terms that cancel.
    """
    return m if eps else jax.lax.stop_gradient(m)


def step_gates(m, log_i, log_f, *, stabilise: bool, eps: float):
    """m', the factor f of the previous state with its rounding error (`exp_and_rest`), the input factor i: [..., H]."""
    after = stabiliser_gradient(next_stabiliser(log_f, m, log_i), eps) if stabilise else jnp.zeros_like(m)
    f, rest = exp_and_rest(log_decay(log_f, m, after))
    return after, f, rest, jnp.exp(log_i - after)


def mlstm_step(
    state: MLSTMState,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    log_i: jax.Array,
    log_f: jax.Array,
    *,
    stabilise: bool = True,
    normalize: bool = True,
    eps: float = 0.0,
) -> tuple[MLSTMState, jax.Array]:
    """One step for q, k [..., H, K], v [..., H, V] and log gates [..., H]; scales q by 1/sqrt(K).

        m' = max(log f + m, log i)                          (0 if `stabilise` is off: sigmoid input gate)
        C' = e^(log f + m - m') C + e^(log i - m') k v^T    n' = e^(log f + m - m') n + e^(log i - m') k
        h  = C'^T q / (max(|n'.q|, e^-m') + eps)            (C'^T q if `normalize` is off)

    Returns the state and h [..., H, V]. Beck et al. 2024 (arXiv 2405.04517), equations 19-27, stabilised as in equation
    15. The bound e^-m' is the paper's 1 in the stabilised scale.
    """
    dtype = state.C.dtype
    q, k, v = q.astype(dtype) * q.shape[-1] ** -0.5, k.astype(dtype), v.astype(dtype)
    log_i, log_f = log_i.astype(dtype), log_f.astype(dtype)
    m, f, rest, i = (a[..., None] for a in step_gates(state.m, log_i, log_f, stabilise=stabilise, eps=eps))
    k = i * k
    C = f[..., None] * state.C + (rest[..., None] * state.C + k[..., :, None] * v[..., None, :])
    n = f * state.n + (rest * state.n + k)
    m = m[..., 0]
    # As batched products: XLA's CPU backend runs them many times faster than multiply-and-sum.
    h = jnp.einsum("...k,...kv->...v", q, C, precision="highest")
    if normalize:
        h = normalized(h, jnp.einsum("...k,...k->...", n, q, precision="highest"), m, eps)
    return MLSTMState(C=C, n=n, m=m), h


@CELLS.register("mlstm")
class MLSTM(Cell):
    """mLSTM with dense projections of x: q, k, v = x W + b, one i and one f per head, y = sigmoid(x W_o + b_o) h.

    w_qkvo [D, 4F], b_qkvo [4F] (q, k, v, o); w_if [D, 2H], b_if [2H] (i, f). Each head's queries, keys and values
    are F/H wide. Beck et al. 2024 (arXiv 2405.04517), section 2.3.
    """

    Config = HeadsConfig

    @staticmethod
    def init(key: jax.Array, config: HeadsConfig) -> CellParams:
        heads = config.num_heads
        key_qkvo, key_i = jax.random.split(key)
        shape = (config.in_features, 4 * config.features)
        input_bias, forget_bias = gate_bias_init(key_i, heads)
        weights = {
            "w_qkvo": jax.nn.initializers.lecun_normal()(key_qkvo, shape, jnp.float32),
            "b_qkvo": jnp.zeros((4 * config.features,), jnp.float32),
            "w_if": jnp.zeros((config.in_features, 2 * heads), jnp.float32),
            "b_if": jnp.concatenate([input_bias, forget_bias]),
        }
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: HeadsConfig, batch_shape: tuple[int, ...]) -> MLSTMState:
        width = config.features // config.num_heads
        return zero_state(batch_shape, config.num_heads, width, width)

    @staticmethod
    def project(params: CellParams, x_BTD: jax.Array) -> tuple[jax.Array, ...]:
        config = params.config
        qkvo = affine(x_BTD, params["w_qkvo"], params["b_qkvo"])
        heads = qkvo.reshape(*qkvo.shape[:-1], 4, config.num_heads, config.features // config.num_heads)
        q, k, v, o = jnp.moveaxis(heads, -3, 0)
        i, f = jnp.split(affine(x_BTD, params["w_if"], params["b_if"]), 2, axis=-1)
        log_i = log_gate(i, config.input_gate, "input_gate")
        log_f = log_gate(f, config.forget_gate, "forget_gate")
        return q, k, v, log_i, log_f, jax.nn.sigmoid(o)

    @staticmethod
    def step(params: CellParams, carry: MLSTMState, u: tuple[jax.Array, ...]) -> tuple[MLSTMState, jax.Array]:
        q, k, v, log_i, log_f, o = u
        stabilise = params.config.input_gate == "exp"
        carry, h = mlstm_step(carry, q, k, v, log_i, log_f, stabilise=stabilise)
        y = o.astype(h.dtype) * h
        return carry, y.reshape(*y.shape[:-2], params.config.features)


def gate_bias_init(
    key: jax.Array,
    heads: int,
    *,
    input_mean: float = 0.0,
    input_std: float = 0.1,
    forget_low: float = 3.0,
    forget_high: float = 6.0,
) -> tuple[jax.Array, jax.Array]:
    """Initial biases [H]: normal for the input gate, evenly spaced over the heads for the forget gate."""
    drawn = input_mean + input_std * jax.random.normal(key, (heads,), jnp.float32)
    return drawn, jnp.linspace(forget_low, forget_high, heads, dtype=jnp.float32)
