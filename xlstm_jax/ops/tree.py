"""Runs tree cells over whole forests, level by level."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells import CellParams
from xlstm_jax.cells.treelstm import TreeCell
from xlstm_jax.checks import check_sizes, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import state_dtype
from xlstm_jax.sharding import varying


class Forest(NamedTuple):
    """The structure of trees or acyclic graphs over N nodes, in evaluation order: a pytree, made by `forest`."""

    rows_RW: jax.Array  # nodes computed together, after all their children; N marks an empty place; without leaves
    children_NC: jax.Array  # each node's children; N marks no child


def forest(children_NC: Any, width: int | None = None, rows: int | None = None) -> Forest:
    """Computes an evaluation order for the nodes of one or more trees, as rows of mutually independent nodes.

    Nodes of one level (all children are in lower levels) are independent of each other, across all trees. Wide levels
    are cut into rows of `width` nodes, narrow ones are padded to it. Leaves are in no row: they need no other node.

    Args:
        children_NC: node numbers of each node's children, -1 for no child. May hold any number of trees. A node may
            have several parents.
        width: nodes per row; None picks the cheapest, counting a row's fixed cost as that of 16 nodes.
        rows: total number of rows, padded with empty ones, so that forests of one size share a compiled program.

    Raises:
        UsageError: no nodes, a number that is not a node, a cycle, or more rows needed than `rows`.
    """
    try:
        children = np.asarray(children_NC)
    except ValueError as error:
        raise UsageError("children are lists of different lengths; pad each to the longest with -1") from error
    if children.ndim != 2 or not children.size or not np.issubdtype(children.dtype, np.integer):
        raise UsageError(f"children {children.shape} of {children.dtype} are not allowed; wanted integers [N, C]")
    nodes = children.shape[0]
    if children.min() < -1 or children.max() >= nodes:
        raise UsageError(f"children {children.shape} contain a number outside -1 (no child) to N - 1 = {nodes - 1}")
    if width is not None:
        check_sizes("forest", width=width)
    if rows is not None:
        check_sizes("forest", rows=rows)
    levels = _levels(children)
    sizes = np.bincount(levels)
    order = np.argsort(levels, kind="stable")[sizes[0] :]
    sizes = sizes[1:]
    if width is None:
        width = min(sorted({int(size) for size in sizes} | {1}), key=lambda w: np.ceil(sizes / w).sum() * (w + 16))
    parts = [part for level in np.split(order, np.cumsum(sizes)[:-1]) for part in _cut(level, width)]
    if rows is not None and rows < len(parts):
        raise UsageError(f"forest needs {len(parts)} rows of {width}, more than rows={rows}")
    table = np.full((rows or len(parts), width), nodes, np.int32)
    for row, part in enumerate(parts):
        table[row, : len(part)] = part
    return Forest(jnp.asarray(table), jnp.asarray(np.where(children < 0, nodes, children), jnp.int32))


def joined(rows_BRK: jax.Array, children_BNC: jax.Array) -> Forest:
    """One forest of B N nodes from a batch of trees with N each; node n of tree b becomes b N + n.

    Row r has the nodes of all trees' rows r.

    Args:
        rows_BRK: for each tree, nodes computed together, after all their children; N marks an empty place; no leaves.
        children_BNC: each node's children; N marks no child.
    """
    batch, nodes, places = children_BNC.shape
    first_B11 = nodes * jnp.arange(batch, dtype=jnp.int32)[:, None, None]

    def moved(numbers):
        return jnp.where(numbers < nodes, numbers + first_B11, batch * nodes)

    rows_RBK = jnp.moveaxis(moved(rows_BRK), 1, 0)
    return Forest(rows_RBK.reshape(rows_RBK.shape[0], -1), moved(children_BNC).reshape(-1, places))


def _cut(level: np.ndarray, width: int) -> list[np.ndarray]:
    return [level[first : first + width] for first in range(0, len(level), width)]


def _levels(children: np.ndarray) -> np.ndarray:
    """Each node's height: 0 for leaves, else one more than its highest child's. Finds one level at a time."""
    there = children >= 0
    missing = there.sum(axis=1)  # children not yet placed
    child, place = children[there], np.nonzero(there)[0]
    order = np.argsort(child, kind="stable")
    parents, first = place[order], np.searchsorted(child[order], np.arange(len(children) + 1))
    levels = np.full(len(children), -1)
    ready, level = np.nonzero(missing == 0)[0], 0
    while ready.size:
        levels[ready] = level
        above = np.concatenate([parents[first[node] : first[node + 1]] for node in ready])
        np.subtract.at(missing, above, 1)
        ready, level = np.unique(above[missing[above] == 0]), level + 1
    if (levels < 0).any():
        raise UsageError(f"children contain a cycle: node {np.nonzero(levels < 0)[0][0]} is on it or above it")
    return levels


def tree_recurrence(cell: type[TreeCell], params: CellParams, x_ND: jax.Array, shape: Forest) -> tuple[jax.Array, Any]:
    """Computes outputs [N, F] and states of all nodes of a forest from inputs [N, D], children before parents.

    All leaves are computed at once, then one row of `shape.rows_RW`, for all trees, in each step of a `lax.scan`.
    Gradients and `vmap` over inputs work.

    Args:
        cell: an entry of `CELLS` of kind "tree".
        params: its weights, from `cell.init`.
        x_ND: input of each node; zeros for a node without input.
        shape: the forest's structure, from `forest`.

    Raises:
        UsageError: a cell of another kind, a forest of another size, or more children per node than the cell accepts.
    """
    if cell.kind != "tree":
        raise UsageError(f"{cell.__name__} is a cell of kind {cell.kind!r}; `tree_recurrence` needs kind 'tree'")
    if not isinstance(shape, Forest):
        raise UsageError(f"tree_recurrence got a shape of type {type(shape).__name__}; pass forest(children_NC)")
    rows_RW, children_NC = shape
    nodes, places = children_NC.shape
    op = f"tree_recurrence of {cell.__name__}"
    (x_ND,) = checked(op, {"N": nodes, **cell.input_sizes(params.config)}, x_ND=x_ND)
    arity = getattr(params.config, "arity", places)
    if places > arity:
        raise UsageError(f"children [{nodes}, {places}] allow {places} per node; the cell's arity is {arity}")
    children_NC = jnp.pad(children_NC, ((0, 0), (0, arity - places)), constant_values=nodes)
    u_NG = cell.project(params, x_ND)
    dtype = state_dtype(x_ND)
    # Of all nodes as if they were leaves; rows write over those of the others.
    states = jax.tree.map(lambda leaf: leaf.astype(dtype), cell.leaf(params, u_NG))
    states = varying(states, params, u_NG, shape)
    # Each empty place gets a distinct number beyond the last node, so writes to it are dropped.
    beyond_W = nodes + jnp.arange(rows_RW.shape[1], dtype=rows_RW.dtype)
    rows_RW = jnp.where(rows_RW == nodes, beyond_W[None], rows_RW)

    def body(states, inputs):
        return _row(cell, params, states, *inputs), None

    inputs = (u_NG.at[rows_RW].get(mode="clip"), children_NC.at[rows_RW].get(mode="clip"), rows_RW)
    states, _ = jax.lax.scan(body, states, inputs)
    return states.h.astype(x_ND.dtype), states


@custom_vjp("a tree cell over a forest", nondiff_argnums=(0,))
def _row(cell, params, states, u_WG, children_WC, row_W):
    """`states` [N, F] with one row of nodes computed. The gradient is updated in place, like the states: autodiff of
    gather and scatter would allocate an array of all nodes for every row."""
    step, below = _gathered(cell, states, children_WC)
    return _scattered(states, step(params, below, u_WG), row_W)


def _row_forward(cell, params, states, u_WG, children_WC, row_W):
    step, below = _gathered(cell, states, children_WC)
    after, pullback = jax.vjp(step, params, below, u_WG)
    return _scattered(states, after, row_W), (pullback, children_WC, row_W)


def _gathered(cell, states, children_WC):
    """A row's step function (params, below, u_WG) -> states [W, F], and `below`, the states of its nodes' children."""
    there_WC = children_WC < jax.tree.leaves(states)[0].shape[0]

    def step(params, below, u_WG):
        return cell.step(params, below, there_WC, u_WG)[0]

    return step, jax.tree.map(lambda leaf: leaf.at[children_WC].get(mode="clip"), states)


def _scattered(states, after, row_W):
    """`states` [N, F] with `after` [W, F] written at a row's nodes; numbers beyond the last node are dropped."""
    return jax.tree.map(lambda leaf, new: leaf.at[row_W].set(new, mode="drop", unique_indices=True), states, after)


def _row_backward(cell, residuals, dstates):
    pullback, children_WC, row_W = residuals
    dafter = jax.tree.map(lambda leaf: leaf.at[row_W].get(mode="fill", fill_value=0), dstates)
    dparams, dbelow, du_WG = pullback(dafter)
    dstates = jax.tree.map(
        lambda leaf, new: leaf.at[row_W].set(0, mode="drop", unique_indices=True).at[children_WC].add(new, mode="drop"),
        dstates,
        dbelow,
    )
    return dparams, dstates, du_WG, None, None


_row.defvjp(_row_forward, _row_backward)
