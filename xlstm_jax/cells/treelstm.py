"""Tree LSTMs: each node is computed from its input and the states of its children."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, Cell, CellParams, gate_weights, recurrent_dot
from xlstm_jax.cells.lstm import LSTM, LSTMCarry, LSTMConfig
from xlstm_jax.shapes import state_dtype


@dataclasses.dataclass(frozen=True)
class NaryConfig(LSTMConfig):
    """`arity`: the maximum number of children of a node; each place has its own weights."""

    arity: int = 2


class TreeCell(Cell):
    """A cell that reduces the children of each node, for W nodes at once with C places for children.

        u_NG     = project(params, x_ND)
        carry, y = step(params, children, there_WC, u)    children: leaves [W, C, F], any value where absent
        carry    = leaf(params, u)                        of nodes without children, without products of states

    The carry is an LSTM's, c and h [N, F] of the nodes, or has h alone. The output y is carry.h.
    """

    kind: ClassVar[str] = "tree"
    Config = LSTMConfig

    init_carry = LSTM.init_carry

    @staticmethod
    def leaf(params: CellParams, u: jax.Array) -> LSTMCarry:
        _, iuo = jnp.split(u.astype(state_dtype(u)), (params.config.features,), axis=-1)
        return _carry(iuo)


def _start(weights: dict[str, jax.Array], config: LSTMConfig) -> dict[str, jax.Array]:
    if config.bias:
        weights["b"] = weights["b"].at[: config.features].set(config.forget_bias)
    return weights


def _node(f_WCF: jax.Array, iuo: jax.Array, c_WCF: jax.Array) -> tuple[LSTMCarry, jax.Array]:
    """The nodes' state from the pre-activations of the forget gates and of i, u, o, and the children's cell states."""
    carry = _carry(iuo, jnp.sum(jax.nn.sigmoid(f_WCF) * c_WCF, axis=1))
    return carry, carry.h


def _carry(iuo: jax.Array, kept: jax.Array | None = None) -> LSTMCarry:
    """The state from the pre-activations of i, u, o, and what the forget gates keep; None: nothing."""
    i, u, o = jnp.split(iuo, 3, axis=-1)
    c = jax.nn.sigmoid(i) * jnp.tanh(u)
    c = c if kept is None else c + kept
    return LSTMCarry(c=c, h=jax.nn.sigmoid(o) * jnp.tanh(c))


@CELLS.register("treelstm_childsum")
class ChildSumTreeLSTM(TreeCell):
    """Tree LSTM for any number of unordered children k. Tai, Socher & Manning 2015 (arXiv 1503.00075), equations 2-8.

        s = sum_k h_k        i, o = sigmoid(x W_x + s W_h + b)        u = tanh(x W_x + s W_h + b)
        f_k = sigmoid(x W_xf + h_k W_f + b_f)        c = i u + sum_k f_k c_k        h = o tanh(c)

    Order f, i, u, o in w_x [D, 4F] and b [4F]; w_f [F, F]; w_h [F, 3F] for i, u, o.
    """

    @staticmethod
    def init(key: jax.Array, config: LSTMConfig) -> CellParams:
        weights = _start(gate_weights(key, config, gates=4), config)
        weights["w_f"], weights["w_h"] = jnp.split(weights["w_h"], (config.features,), axis=1)
        return CellParams(config, weights)

    @staticmethod
    def step(params: CellParams, children: LSTMCarry, there_WC: jax.Array, u: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        c_WCF, h_WCF = (jnp.where(there_WC[..., None], leaf, jnp.zeros_like(leaf)) for leaf in children)
        u_f, u_iuo = jnp.split(u.astype(c_WCF.dtype), (params.config.features,), axis=-1)
        f_WCF = jnp.broadcast_to(u_f[:, None], c_WCF.shape) + recurrent_dot(h_WCF, params["w_f"])
        return _node(f_WCF, u_iuo + recurrent_dot(h_WCF.sum(axis=1), params["w_h"]), c_WCF)


@CELLS.register("treelstm_nary")
class NaryTreeLSTM(TreeCell):
    """Tree LSTM for at most `arity` ordered children k. Tai et al. 2015 (arXiv 1503.00075), equations 9-14.

        i, o = sigmoid(x W_x + sum_k h_k W_k + b)        u = tanh(x W_x + sum_k h_k W_k + b)
        f_k = sigmoid(x W_xf + sum_l h_l W_kl + b_f)     c = i u + sum_k f_k c_k        h = o tanh(c)

    Order f, i, u, o in w_x [D, 4F] and b [4F]; w_h [arity F, (arity + 3) F] maps the concatenated h of the
    children to the forget gates f_1 ... f_arity, then i, u, o.
    """

    Config = NaryConfig

    @staticmethod
    def init(key: jax.Array, config: NaryConfig) -> CellParams:
        key, *keys = jax.random.split(key, config.arity + 1)
        weights = _start(gate_weights(key, config, gates=4), config)
        narrow = dataclasses.replace(config, in_features=1, bias=False)
        weights["w_h"] = jnp.concatenate([gate_weights(k, narrow, gates=config.arity + 3)["w_h"] for k in keys])
        return CellParams(config, weights)

    @staticmethod
    def step(params: CellParams, children: LSTMCarry, there_WC: jax.Array, u: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        c_WCF, h_WCF = (jnp.where(there_WC[..., None], leaf, jnp.zeros_like(leaf)) for leaf in children)
        nodes, arity, features = c_WCF.shape
        u_f, u_iuo = jnp.split(u.astype(c_WCF.dtype), (features,), axis=-1)
        v = recurrent_dot(h_WCF.reshape(nodes, arity * features), params["w_h"])
        v_f, v_iuo = jnp.split(v, (arity * features,), axis=-1)
        f_WCF = jnp.broadcast_to(u_f[:, None], c_WCF.shape) + v_f.reshape(c_WCF.shape)
        return _node(f_WCF, u_iuo + v_iuo, c_WCF)
