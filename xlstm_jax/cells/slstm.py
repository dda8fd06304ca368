"""sLSTM: scalar memory, exponential gating, a normalizer state, and memory mixing within each head."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, SplitCell, affine
from xlstm_jax.cells.gates import Gate, HeadsConfig, exp_and_rest, log_decay, log_gate, next_stabiliser


class SLSTMState(NamedTuple):
    """State of an sLSTM, each [..., H, D]. m is a gauge: only c e^m and n e^m have meaning; -inf is the empty state."""

    c: jax.Array  # cell, scaled by e^-m
    n: jax.Array  # normalizer, scaled by e^-m
    m: jax.Array  # stabiliser
    y: jax.Array  # output, fed back


def empty_state(shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> SLSTMState:
    """The state before the first step and after a reset: c, n, y zero, m minus infinity."""
    c, n, y = (jnp.zeros(shape, dtype) for _ in range(3))
    return SLSTMState(c=c, n=n, m=jnp.full(shape, -jnp.inf, dtype), y=y)


def slstm_step(
    state: SLSTMState, i: jax.Array, f: jax.Array, z: jax.Array, o: jax.Array, *, input_gate: Gate, forget_gate: Gate
) -> SLSTMState:
    """One step from full pre-activations (input, recurrent part and bias summed), all of the same shape.

        m' = max(log f + m, log i)      i' = e^(log i - m')      f' = e^(log f + m - m')
        c' = f' c + i' tanh(z)          n' = f' n + i'           y' = sigmoid(o) c' / n'

    Beck et al. 2024 (arXiv 2405.04517), equations 8-18 with the stabiliser of 15-17.
    """
    log_i = log_gate(i, input_gate, "input_gate")
    log_f = log_gate(f, forget_gate, "forget_gate")
    # m cancels in y and in the meaning of the state, so its gradient is zero and dropping it is exact.
    m = jax.lax.stop_gradient(next_stabiliser(log_f, state.m, log_i))
    i = jnp.exp(log_i - m)
    f, rest = exp_and_rest(log_decay(log_f, state.m, m))
    c = f * state.c + (rest * state.c + i * jnp.tanh(z))
    n = f * state.n + (rest * state.n + i)
    # If nothing was ever written, c and n are 0.
    return SLSTMState(c=c, n=n, m=m, y=jax.nn.sigmoid(o) * c / jnp.where(n == 0, jnp.ones_like(n), n))


def forget_bias_init(heads: int, head_features: int, depth: float = 0.0) -> jax.Array:
    """Initial forget-gate bias [H, D]: 5 - 12 (j / (D - 1))^(0.3 + 1.3 depth) for feature j of each head.

    `depth` is the block's relative depth l / (NB - 1) in [0, 1]: later blocks start with longer memory.
    """
    position = jnp.arange(head_features, dtype=jnp.float32) / max(head_features - 1, 1)
    return jnp.broadcast_to(5.0 - 12.0 * position ** (0.3 + 1.3 * depth), (heads, head_features))


@CELLS.register("slstm")
class SLSTM(SplitCell):
    """sLSTM with dense input projections: pre_g = x W_g + y r_g + b_g for g = i, f, z, o, then `slstm_step`.

    w_x [D, 4F]; r [4, H, F/H, F/H], block-diagonal over heads, starts at zero; b [4, H, F/H].
    Beck et al. 2024 (arXiv 2405.04517), section 2.2.
    """

    Config = HeadsConfig
    additive = True
    undecayed = ("b",)

    @staticmethod
    def init(key: jax.Array, config: HeadsConfig) -> CellParams:
        heads, width = config.num_heads, config.features // config.num_heads
        bias = jnp.zeros((4, heads, width), jnp.float32).at[1].set(forget_bias_init(heads, width))
        shape = (config.in_features, 4 * config.features)
        weights = {
            "w_x": jax.nn.initializers.lecun_normal()(key, shape, jnp.float32),
            "r": jnp.zeros((4, heads, width, width), jnp.float32),
            "b": bias,
        }
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: HeadsConfig, batch_shape: tuple[int, ...]) -> SLSTMState:
        return empty_state((*batch_shape, config.num_heads, config.features // config.num_heads))

    @staticmethod
    def project(params: CellParams, x_BTD: jax.Array) -> jax.Array:
        u = affine(x_BTD, params["w_x"], params["b"].reshape(-1))
        return u.reshape(*u.shape[:-1], *params["b"].shape)

    @staticmethod
    def feedback(carry: SLSTMState) -> jax.Array:
        return carry.y

    @staticmethod
    def recur(params: CellParams, h: jax.Array) -> jax.Array:
        r = params["r"]
        return jnp.einsum("...hd,ghde->...ghe", h.astype(r.dtype), r, preferred_element_type=h.dtype)

    @staticmethod
    def update(inner: CellParams, carry: SLSTMState, u: jax.Array, v: jax.Array) -> tuple[SLSTMState, jax.Array]:
        i, f, z, o = jnp.moveaxis(u.astype(carry.y.dtype) + v, -3, 0)
        config = inner.config
        carry = slstm_step(carry, i, f, z, o, input_gate=config.input_gate, forget_gate=config.forget_gate)
        return carry, carry.y.reshape(*carry.y.shape[:-2], config.features)
