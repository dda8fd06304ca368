"""The recursive neural tensor network: a cell over trees without gates."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.base import CELLS, CellParams, RecurrentConfig, gate_weights, recurrent_dot
from xlstm_jax.cells.treelstm import TreeCell
from xlstm_jax.shapes import state_dtype


@dataclasses.dataclass(frozen=True)
class RNTNConfig(RecurrentConfig):
    """`arity`: the maximum number of children of a node. The tensor has (arity features)^2 features numbers."""

    arity: int = 2


class RNTNCarry(NamedTuple):
    """What a parent reads of a node."""

    h: jax.Array


@CELLS.register("rntn")
class RNTN(TreeCell):
    """A node whose children interact by products. Socher et al. 2013 (EMNLP), equation 2, for ordered children.

        p = [h_1 ... h_C]        h = tanh(x W_x + p W_h + p^T V p + b)

    A child that is absent has h = 0. The paper's leaves are word vectors as they are; here x has a map of its own, as
    in all cells. w_x [D, F], w_h [C F, F], w_v [C F, C F F] with the output features last, b [F].
    """

    Config = RNTNConfig

    @staticmethod
    def init(key: jax.Array, config: RNTNConfig) -> CellParams:
        key, tensor_key, *keys = jax.random.split(key, config.arity + 2)
        weights, wide = gate_weights(key, config, gates=1), config.arity * config.features
        narrow = dataclasses.replace(config, in_features=1, bias=False)
        # The sum of the children keeps the size of one of them.
        parts = [gate_weights(k, narrow, gates=1)["w_h"] / config.arity for k in keys]
        weights["w_h"] = jnp.concatenate(parts)
        bound = 1 / (2 * wide)
        weights["w_v"] = jax.random.uniform(tensor_key, (wide, wide * config.features), jnp.float32, -bound, bound)
        return CellParams(config, weights)

    @staticmethod
    def init_carry(config: RNTNConfig, batch_shape: tuple[int, ...]) -> RNTNCarry:
        return RNTNCarry(h=jnp.zeros((*batch_shape, config.features), jnp.float32))

    @staticmethod
    def leaf(params: CellParams, u: jax.Array) -> RNTNCarry:
        return RNTNCarry(h=jnp.tanh(u.astype(state_dtype(u))))

    @staticmethod
    def step(params: CellParams, children: RNTNCarry, there_WC: jax.Array, u: jax.Array) -> tuple[RNTNCarry, jax.Array]:
        h_WCF = jnp.where(there_WC[..., None], children.h, jnp.zeros_like(children.h))
        nodes, arity, features = h_WCF.shape
        p_WP = h_WCF.reshape(nodes, arity * features)
        products_WPF = recurrent_dot(p_WP, params["w_v"]).reshape(nodes, arity * features, features)
        tensor_WF = jnp.einsum("wp,wpf->wf", p_WP, products_WPF)
        h = jnp.tanh(u.astype(state_dtype(u)) + recurrent_dot(p_WP, params["w_h"]) + tensor_WF)
        return RNTNCarry(h=h), h
