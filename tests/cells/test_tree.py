"""Checks for every registered tree cell, and for the order in which nodes are computed.

Most tests run over the registry, so they cover new cells once registered.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import classic
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.ops.tree import forest, tree_recurrence
from xlstm_jax.testing.examples import Example, examples

CLOSE = 1e-12
NODES = 14
PLACES = 3  # for children, as in `examples`


def random_children(seed: int, shared: bool) -> np.ndarray:
    """Children [N, C] of several trees, numbered at random; nodes may have several parents if `shared`."""
    rng = np.random.default_rng(seed)
    children = np.full((NODES, PLACES), -1)
    for node in range(NODES - 1):
        if rng.random() < 0.8:  # else it is a root
            parent = rng.integers(node + 1, NODES)
            children[parent, rng.integers(PLACES)] = node  # may replace another child, which becomes a root
    if shared:
        for parent in range(2, NODES, 3):
            children[parent, rng.integers(PLACES)] = rng.integers(parent)
    return renumbered(children, rng.permutation(NODES))


def renumbered(children: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The same graph with node j renumbered to number[j]."""
    changed = np.empty_like(children)
    changed[number] = np.where(children < 0, -1, number[children])
    return changed


def chain(nodes: int, places: int = 1) -> np.ndarray:
    """A chain: each node is the only child, in the first place, of the next."""
    children = np.full((nodes, places), -1)
    children[1:, 0] = np.arange(nodes - 1)
    return children


def balanced(depth: int) -> np.ndarray:
    """A binary tree with 2^depth leaves; the root is node 0."""
    children = np.full((2 ** (depth + 1) - 1, 2), -1)
    parents = np.arange(2**depth - 1)
    children[parents] = np.stack([2 * parents + 1, 2 * parents + 2], axis=1)
    return children


GRAPHS = {"trees": random_children(0, shared=False), "shared": random_children(1, shared=True)}


def test_the_graphs_here_are_what_they_are_called():
    for name, children in GRAPHS.items():
        uses = np.bincount(children[children >= 0], minlength=NODES)
        assert (uses == 0).sum() > 1, "several roots"
        assert ((children >= 0).sum(axis=1) > 1).any() and (uses.max() > 1) == (name == "shared")


@functools.cache
def compiled(example: Example):
    """(run, step): run(params, x, forest) -> (y, states); step(params, children's states, there, x) for some nodes."""

    def step(params, children, there, x):
        return example.cell.step(params, children, there, example.cell.project(params, x))

    return jax.jit(functools.partial(tree_recurrence, example.cell)), jax.jit(step)


@pytest.fixture(
    params=[pytest.param(e, marks=[pytest.mark.slow] * e.without_bias) for e in examples("tree")],
    ids=repr,
    scope="module",
)
def example(request):
    return request.param


@pytest.fixture
def given(example, x64):
    """params and x [N, D], in float64."""
    return example.params(np.float64), example.nodes(NODES, np.float64)


def by_recursion(example, params, x, children):
    """y and the states of all nodes, computed recursively from the parents. Missing children are NaN."""
    step, nothing = compiled(example)[1], jax.tree.map(lambda leaf: leaf[0] * np.nan, example.start(x.dtype))
    done = {}

    def state(node):
        if node not in done:
            below = [state(child)[0] if child >= 0 else nothing for child in children[node]]
            below = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], *below)
            carry, y = step(params, below, jnp.asarray(children[node] >= 0)[None], x[node][None])
            done[node] = jax.tree.map(lambda leaf: leaf[0], (carry, y))
        return done[node]

    states, y = zip(*[state(node) for node in range(len(children))], strict=True)
    return jnp.stack(y), jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def assert_close(got, wanted, limit=CLOSE):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=limit, atol=limit)


@pytest.mark.parametrize("graph", GRAPHS)
def test_equals_recursion(example, given, graph):
    """Several graphs at once equal `step` called node by node."""
    run, _ = compiled(example)
    assert_close(run(*given, forest(GRAPHS[graph])), by_recursion(example, *given, GRAPHS[graph]))


def test_numbering_of_nodes(example, given):
    """Renumbering the nodes does not change their states."""
    run, _ = compiled(example)
    params, x = given
    number = np.random.default_rng(3).permutation(NODES)
    before = run(params, x, forest(GRAPHS["shared"]))
    after = run(params, x[np.argsort(number)], forest(renumbered(GRAPHS["shared"], number)))
    assert_close(jax.tree.map(lambda leaf: leaf[number], after), before)


@pytest.mark.parametrize("graph", GRAPHS)
def test_gradients_equal_finite_differences(example, given, graph):
    """Gradients of weights and inputs, from all outputs and states."""
    rng, shape = np.random.default_rng(4), forest(GRAPHS[graph])
    run, _ = compiled(example)
    factors = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), run(*given, shape))
    gradient = jax.jit(jax.grad(lambda args: _dot(run(*args, shape), factors)))(given)
    for which in range(2):
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), given[which])

        def loss(size, which=which, direction=direction):
            moved = list(given)
            moved[which] = jax.tree.map(lambda a, b: a + size * b, given[which], direction)
            return _dot(run(*moved, shape), factors)

        step = 1e-5
        difference = (8 * (loss(step) - loss(-step)) - (loss(2 * step) - loss(-2 * step))) / (12 * step)
        assert float(_dot(gradient[which], direction)) == pytest.approx(float(difference), rel=1e-8)


def _dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_what_stands_in_an_empty_place_is_not_seen(example, given):
    """Values in empty places affect neither the step nor its gradient."""
    _, step = compiled(example)
    params, x = given
    there = jnp.asarray([[True, False, True], [False, False, True], [False, False, False]])
    rng, shapes = np.random.default_rng(5), example.start(np.float64)
    below = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal((3, PLACES, *leaf.shape[1:]))), shapes)

    def put(value):
        return jax.tree.map(lambda leaf: jnp.where(_like(there, leaf), leaf, value), below)

    wanted = step(params, put(0.0), there, x[:3])
    for value in (1e3, np.inf, np.nan):
        assert_close(step(params, put(value), there, x[:3]), wanted, limit=0)
        gradient = jax.grad(lambda *args: jnp.sum(step(*args, there, x[:3])[1]), argnums=(0, 1))(params, put(value))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        for leaf in jax.tree.leaves(gradient[1]):
            assert not np.asarray(leaf)[~np.asarray(there)].any() and np.asarray(leaf)[np.asarray(there)].any()


def _like(there_WC, leaf):
    return jnp.broadcast_to(there_WC.reshape(*there_WC.shape, *(1,) * (leaf.ndim - 2)), leaf.shape)


def test_places_behind_the_last_child(example, given):
    """Trailing empty places, for all nodes, do not change the graph."""
    run, _ = compiled(example)
    children = GRAPHS["trees"].copy()
    children[:, -1] = -1
    assert_close(run(*given, forest(children[:, :-1])), run(*given, forest(children)))


@pytest.mark.parametrize("options", [{"width": 1}, {"width": 2}, {"width": 100}, {"rows": 40}, {"width": 3, "rows": 9}])
def test_width_and_rows_change_no_value(example, given, options):
    run, _ = compiled(example)
    children = GRAPHS["shared"]
    assert_close(run(*given, forest(children, **options)), run(*given, forest(children)))


def test_vmap_over_inputs(example, given):
    run, _ = compiled(example)
    params, x = given
    shape, several = forest(GRAPHS["shared"]), jnp.stack([x, x[::-1], 2 * x])
    got = jax.jit(jax.vmap(functools.partial(tree_recurrence, example.cell), in_axes=(None, 0, None)))
    wanted = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[run(params, one, shape) for one in several])
    assert_close(got(params, several, shape), wanted)


@pytest.mark.parametrize("wide", [False, True], ids=["x32", "x64"])
def test_float32_in_float32_out(example, wide):
    """Also in x64 mode."""
    with jax.enable_x64(wide):
        params, x = example.cell.init(jax.random.key(0), example.config), example.nodes(NODES, np.float32)
        y, states = jax.eval_shape(functools.partial(tree_recurrence, example.cell), params, x, forest(GRAPHS["trees"]))
        start = example.cell.init_carry(example.config, (NODES,))
    assert {leaf.dtype for leaf in jax.tree.leaves((params, y, states))} == {jnp.dtype(np.float32)}
    assert y.shape[0] == NODES
    assert jax.tree.map(jnp.shape, states) == jax.tree.map(jnp.shape, start)


def test_bfloat16(example, x64):
    """With weights and inputs in bfloat16, y is bfloat16 and close to the float64 result; states are float32."""
    run, _ = compiled(example)
    params, x = example.params(jnp.bfloat16), example.nodes(NODES, jnp.bfloat16)
    y, states = run(params, x, forest(GRAPHS["shared"]))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(states)} == {jnp.dtype(np.float32)}
    params, x = jax.tree.map(lambda leaf: leaf.astype(np.float64), (params, x))
    wanted, _ = run(params, x, forest(GRAPHS["shared"]))
    assert np.linalg.norm(np.asarray(y, np.float64) - wanted) <= 0.02 * np.linalg.norm(wanted)


def test_large_tree(example, x64):
    """A tree of 2^12 leaves compiles to a program as small as for 4 leaves, and has the right states."""
    run, step = compiled(example)
    params, depth = example.params(np.float64), 12
    x = jnp.broadcast_to(example.nodes(1, np.float64), (2 ** (depth + 1) - 1, example.config.in_features))

    def operations(depth):
        nodes = 2 ** (depth + 1) - 1
        return str(jax.make_jaxpr(run)(params, x[:nodes], forest(balanced(depth)))).count(" = ")

    assert operations(depth) == operations(2) > 10
    y, _ = run(params, x, forest(balanced(depth)))
    # All inputs are equal, so all nodes of a level are equal.
    carry = jax.tree.map(lambda leaf: leaf[:1], example.start(np.float64))
    for level in range(depth, -1, -1):
        below = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:, None], (1, PLACES, *leaf.shape[1:])), carry)
        there = jnp.asarray([[level < depth, level < depth, False]])
        carry, wanted = step(params, below, there, x[:1])
        nodes = y[2**level - 1 : 2 ** (level + 1) - 1]
        assert_close(nodes, jnp.broadcast_to(wanted, nodes.shape))


@pytest.mark.parametrize("name, options", [("treelstm_childsum", {}), ("treelstm_nary", {"arity": 1})])
def test_a_chain_is_an_lstm(name, options, x64):
    """With one child per node both tree LSTMs equal the LSTM, on a chain deeper than Python's recursion limit."""
    cell, nodes = CELLS.get(name), sys.getrecursionlimit() + 10
    example = Example(name, cell, cell.Config(3, 4, **options))
    params, x = example.params(np.float64), example.nodes(nodes, np.float64)
    y, states = compiled(example)[0](params, x, forest(chain(nodes)))
    weights = {key: np.asarray(leaf) for key, leaf in params.items()}
    if "w_f" in weights:
        weights["w_h"] = np.concatenate([weights.pop("w_f"), weights["w_h"]], axis=1)
    for key, leaf in weights.items():
        f, i, u, o = np.split(leaf, 4, axis=-1)
        weights[key] = np.concatenate([i, f, u, o], axis=-1)
    zero, none = np.zeros((1, 4)), np.zeros((1, nodes), bool)
    wanted, (c, h) = classic.lstm(weights, np.asarray(x)[None], (zero, zero), none, [nodes])
    assert_close(np.asarray(y), wanted[0])
    assert_close((np.asarray(states.c[-1:]), np.asarray(states.h[-1:])), (c, h))


def test_leaves_alone(example, given):
    """A forest without inner nodes, and a leaf's step: both equal `leaf`."""
    run, step = compiled(example)
    params, x = given
    y, states = run(params, x, forest(np.full((NODES, PLACES), -1)))
    nothing = jax.tree.map(lambda leaf: jnp.full((NODES, PLACES, *leaf.shape[1:]), np.nan), example.start(np.float64))
    assert_close((states, y), step(params, nothing, jnp.zeros((NODES, PLACES), bool), x))
    assert_close(states, jax.jit(example.cell.leaf)(params, example.cell.project(params, x)))


def test_order_of_children(x64):
    """The child-sum cell ignores the order of children; the N-ary cell, with weights for each place, does not."""
    for name, ordered in (("treelstm_childsum", False), ("treelstm_nary", True)):
        example = next(e for e in examples("tree") if e.name == name)
        run, _ = compiled(example)
        given = example.params(np.float64), example.nodes(NODES, np.float64)
        y, _ = run(*given, forest(GRAPHS["trees"]))
        turned, _ = run(*given, forest(GRAPHS["trees"][:, ::-1]))
        assert (np.max(np.abs(turned - y)) > 1e-3) == ordered
        if not ordered:
            assert_close(turned, y)


@pytest.mark.parametrize("options", [{}, {"width": 1}, {"width": 4}, {"width": 2, "rows": 30}])
@pytest.mark.parametrize("graph", GRAPHS)
def test_forest_takes_each_inner_node_once_after_its_children(graph, options):
    rows, children = forest(GRAPHS[graph], **options)
    place = {int(node): n for n, row in enumerate(rows) for node in row if node < NODES}
    inner = np.flatnonzero((GRAPHS[graph] >= 0).any(axis=1)).tolist()
    assert sorted(int(node) for node in np.ravel(rows) if node < NODES) == inner
    for node in inner:
        assert all(place.get(child, -1) < place[node] for child in GRAPHS[graph][node] if child >= 0)
    np.testing.assert_array_equal(children, np.where(GRAPHS[graph] < 0, NODES, GRAPHS[graph]))
    assert rows.dtype == children.dtype == np.int32
    assert rows.shape[0] == options.get("rows", rows.shape[0]) and rows.shape[1] == options.get("width", rows.shape[1])


def test_forests_of_one_size_share_a_program(example, given):
    """With fixed `rows` and `width`, forests of different graphs have the same shape."""
    traced = []

    @jax.jit
    def run(params, x, shape):
        traced.append(shape)
        return tree_recurrence(example.cell, params, x, shape)

    for children in GRAPHS.values():
        run(*given, forest(children, width=4, rows=20))
    assert len(traced) == 1


CYCLE = [[1, -1], [2, -1], [0, -1], [-1, -1]]


@pytest.mark.parametrize(
    "children, options, message",
    [
        (CYCLE, {}, "cycle"),
        ([[0]], {}, "cycle"),
        ([[-1], [2]], {}, "number outside -1"),
        ([[-1], [-2]], {}, "number outside -1"),
        ([-1, 0], {}, r"wanted integers \[N, C\]"),
        (3, {}, r"wanted integers \[N, C\]"),
        ([[-1.0], [0.5]], {}, "float64 are not allowed"),
        (np.zeros((0, 2), int), {}, "wanted integers"),
        ([[-1], [0]], {"width": 0}, "width 0 is not allowed"),
        ([[-1], [0], [1]], {"rows": 1}, "needs 2 rows"),
    ],
    ids=["cycle", "own child", "no node", "below -1", "1 axis", "0 axes", "floats", "empty", "width", "too few rows"],
)
def test_forest_refuses(children, options, message):
    with pytest.raises(UsageError, match=message):
        forest(children, **options)


def test_more_children_than_the_arity():
    cell = CELLS.get("treelstm_nary")
    example = Example("treelstm_nary", cell, cell.Config(3, 4, arity=2))
    with pytest.raises(UsageError, match="arity is 2"):
        tree_recurrence(cell, example.params(np.float32), example.nodes(2, np.float32), forest([[-1] * 3, [0] * 3]))


def test_x_of_another_size(example):
    """JAX would silently clamp the indices."""
    with pytest.raises(UsageError, match=r"got x \(5, 3\); wanted x \[N,D\]: x has N = 5, not 3"):
        tree_recurrence(
            example.cell, example.params(np.float32), example.nodes(5, np.float32), forest([[-1], [0], [1]])
        )


def test_gradient_memory_grows_with_the_nodes_not_with_their_square(example):
    """Checked on a chain, the deepest possible tree."""

    def temporary(nodes):
        def loss(params, x_ND):
            return jnp.sum(tree_recurrence(example.cell, params, x_ND, forest(np.arange(nodes)[:, None] - 1))[0])

        given = example.params(np.float32), example.nodes(nodes, np.float32)
        return jax.jit(jax.grad(loss)).lower(*given).compile().memory_analysis().temp_size_in_bytes

    assert temporary(400) < 3 * temporary(200)


def test_cells_of_the_other_kind(example):
    """A sequence cell over a tree, and a tree cell over time."""
    lstm = next(e for e in examples() if e.name == "lstm")
    with pytest.raises(UsageError, match="LSTM is a cell of kind 'sequence'"):
        tree_recurrence(lstm.cell, lstm.params(np.float32), lstm.nodes(1, np.float32), forest([[-1]]))
    with pytest.raises(UsageError, match=f"{example.cell.__name__} is a cell of kind 'tree'"):
        recurrence(example.cell, example.params(np.float32), example.nodes(4, np.float32)[None])
