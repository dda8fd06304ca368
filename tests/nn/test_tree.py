"""Tree cells as layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import assert_gradient, differ
from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Tree
from xlstm_jax.ops.tree import forest, tree_recurrence

IN, FEATURES = 3, 4
# Two trees: 4 is the parent of 0 and 3, which is the parent of 1 and 2; 6 is the parent of 5.
CHILDREN_NC = [[-1, -1], [-1, -1], [-1, -1], [1, 2], [0, 3], [-1, -1], [5, -1]]
X_ND = np.random.default_rng(0).standard_normal((len(CHILDREN_NC), IN)).astype(np.float32)
TREE_CELLS = [name for name in CELLS.names() if CELLS.get(name).kind == "tree"]


@pytest.mark.parametrize("cell", TREE_CELLS)
def test_is_the_recurrence_with_the_module_s_weights(cell):
    """Outputs and states under jit. The output is h of every node, which depends only on its descendants."""
    graphdef, state = nnx.split(Tree(cell, IN, FEATURES, rngs=nnx.Rngs(0)))
    params, shape = nnx.to_pure_dict(state), forest(CHILDREN_NC)
    run = jax.jit(lambda params, x: nnx.merge(graphdef, params)(x, shape))
    y, states = run(params, X_ND)
    config = CELLS.get(cell).Config(in_features=IN, features=FEATURES)
    by_hand = tree_recurrence(CELLS.get(cell), CellParams(config, params["weights"]), jnp.asarray(X_ND), shape)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), (y, states), by_hand)
    assert y.shape == (len(CHILDREN_NC), FEATURES)
    np.testing.assert_array_equal(y, states.h)
    other = np.asarray(run(params, X_ND + (np.arange(len(CHILDREN_NC)) == 1)[:, None])[0])
    assert (np.abs(other - y).max(axis=1) > 1e-4).tolist() == [False, True, False, True, True, False, False]


@pytest.mark.parametrize("cell", TREE_CELLS)
def test_gradient_against_finite_differences(x64, cell):
    """With respect to weights and inputs together."""
    graphdef, state = nnx.split(Tree(cell, IN, FEATURES, dtype=jnp.float64, rngs=nnx.Rngs(0)))
    point, shape = jax.tree.map(jnp.float64, (nnx.to_pure_dict(state), X_ND)), forest(CHILDREN_NC)

    def loss(point):
        y, states = nnx.merge(graphdef, point[0])(point[1], shape)
        assert {a.dtype for a in (y, *states)} == {jnp.dtype("float64")}
        return sum(jnp.sum(jnp.sin(a)) for a in (y, *states))

    assert_gradient(loss, point)


def test_options_reach_the_cell():
    module = Tree("treelstm_nary", IN, FEATURES, arity=3, forget_bias=2.0, rngs=nnx.Rngs(0))
    assert module.weights["w_h"].shape == (3 * FEATURES, 6 * FEATURES)
    bias = np.asarray(module.weights["b"][...])
    assert (bias[:FEATURES] == 2).all() and not bias[FEATURES:].any()
    y, _ = module(X_ND[:4], forest([[-1, -1, -1]] * 3 + [[0, 1, 2]]))
    assert y.shape == (4, FEATURES)
    assert "b" not in Tree("treelstm_childsum", IN, FEATURES, bias=False, rngs=nnx.Rngs(0)).weights
    drawn = [Tree("treelstm_childsum", IN, FEATURES, rngs=nnx.Rngs(seed)).weights["w_x"][...] for seed in (0, 1)]
    assert differ(*drawn)


def test_bfloat16_products_and_float32_states():
    module = Tree("treelstm_childsum", IN, FEATURES, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    y, states = module(jnp.asarray(X_ND), forest(CHILDREN_NC))
    assert y.dtype == jnp.bfloat16 and states.c.dtype == states.h.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(module))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("cell", TREE_CELLS)
def test_a_misspelt_option_names_the_allowed_ones(cell):
    with pytest.raises(UsageError, match="aritty") as raised:
        Tree(cell, IN, FEATURES, rngs=nnx.Rngs(0), aritty=3)
    for field in dataclasses.fields(CELLS.get(cell).Config):
        assert field.name in str(raised.value)


def test_refusals_say_what_is_allowed():
    with pytest.raises(UsageError, match="cell 'lstm' is of kind 'sequence'; `Tree` needs kind 'tree'"):
        Tree("lstm", IN, FEATURES, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match=r"unknown cell 'treelstm'; known: .*treelstm_childsum, treelstm_nary"):
        Tree("treelstm", IN, FEATURES, rngs=nnx.Rngs(0))
    module = Tree("treelstm_nary", IN, FEATURES, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="arity is 2"):
        module(jnp.asarray(X_ND[:4]), forest([[-1, -1, -1]] * 3 + [[0, 1, 2]]))
