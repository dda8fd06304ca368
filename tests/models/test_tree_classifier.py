"""Classifiers of phrases: node by node against the cells' oracle, words alone, dropout, other trees in the batch."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from tests.cells.errors import ORACLES
from xlstm_jax.cells import CELLS
from xlstm_jax.data import trees
from xlstm_jax.data.sst import parse
from xlstm_jax.errors import UsageError
from xlstm_jax.models.tree_classifier import TreeClassifier, TreeClassifierConfig
from xlstm_jax.ops.tree import joined

LINES = "(4 (3 (2 A) (3 (3 very) (1 good))) (0 film))", "(1 (1 no) (0 (1 no) (2 no)))", "(2 x)"
VOCABULARY, CLASSES = 9, 3
TREE_CELLS = [name for name in CELLS.names() if CELLS.get(name).kind == "tree"]


def rows():
    rng = np.random.default_rng(0)
    encode = lambda words: rng.integers(0, VOCABULARY, len(words))  # noqa: E731
    return [trees.row_of(parse(line), encode, lambda sentiment: sentiment) for line in LINES]


@functools.cache
def model(**options):
    config = TreeClassifierConfig(features=4, embedding_std=1.0, **options)
    return TreeClassifier(config, VOCABULARY, CLASSES, unknown=0, rngs=nnx.Rngs(0))


@functools.cache
def classified(**options):
    """classify(batch, key), jitted."""
    graphdef, state = nnx.split(model(**options))
    return lambda batch, key=None: jax.jit(lambda batch, key: nnx.merge(graphdef, state).classify(batch, key))(
        batch, key
    )


@pytest.mark.parametrize("cell", TREE_CELLS)
@pytest.mark.parametrize("width", [1, 3])
def test_node_by_node(cell, width):
    """Of a batch of trees of different sizes."""
    made, batch = model(tree_cell=cell), trees.batch_of(rows(), np.zeros(3), 8, width)
    got = classified(tree_cell=cell)(batch)
    weights = {name: np.asarray(w[...], np.float64) for name, w in made.tree.weights.items()}
    oracle = ORACLES[cell](made.tree.config)
    for row, logits_NA in zip(rows(), got, strict=True):
        words = np.asarray(made.embedding.embedding[...], np.float64)[np.maximum(row[:, trees.WORD], 0)]
        x_ND = np.where(row[:, [trees.WORD]] < 0, 0, words)
        h_ND, _ = oracle(weights, x_ND, row[:, trees.CHILDREN])
        wanted = h_ND @ np.asarray(made.head.kernel[...], np.float64)
        np.testing.assert_allclose(logits_NA[: len(row)], wanted, atol=1e-5)


def test_words_alone_are_averaged_over_each_phrase():
    made, batch = model(kind="stack", pattern="r"), trees.batch_of(rows(), np.zeros(3), 8, 2)
    got = classified(kind="stack", pattern="r")(batch)
    for n, row in enumerate(rows()):
        count = (len(row) + 1) // 2
        x_1TD, _ = made.stack(made.embedding(row[None, :count, trees.WORD]))
        for node, (start, end) in enumerate(row[:, trees.SPAN]):
            wanted = made.head(x_1TD[0, start:end].mean(axis=0))
            np.testing.assert_allclose(got[n, node], wanted, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"kind": "stack", "pattern": "r"}])
def test_a_tree_does_not_depend_on_others(options):
    """Nor on the size of the batch or its padding."""
    run = classified(**options)
    whole = run(trees.batch_of(rows(), np.zeros(3), 8, 2))
    for n, row in enumerate(rows()):
        alone = run(trees.batch_of([row, row[:0]], np.zeros(2), 16, 2))
        np.testing.assert_allclose(alone[0, : len(row)], whole[n, : len(row)], atol=1e-6)


def test_dropout_needs_a_key():
    options = {"dropout": 0.5, "head_dropout": 0.5, "token_dropout": 0.5}
    batch, run = trees.batch_of(rows(), np.zeros(3), 8, 2), classified(**options)
    np.testing.assert_allclose(run(batch), classified()(batch), atol=1e-6)
    assert np.abs(run(batch, jax.random.key(0)) - run(batch, jax.random.key(1))).max() > 1e-3


def test_joined_trees():
    """Numbers of the second tree move by N = 3; those that mark nothing become B N = 6."""
    rows_BRK = np.array([[[0, 1], [2, 3]], [[0, 3], [3, 3]]])
    shape = jax.jit(joined)(rows_BRK, np.array([[[3, 3], [3, 3], [0, 1]], [[3, 3]] * 3]))
    np.testing.assert_array_equal(shape.rows_RW, [[0, 1, 3, 6], [2, 6, 6, 6]])
    np.testing.assert_array_equal(shape.children_NC, [[6, 6], [6, 6], [0, 1], [6, 6], [6, 6], [6, 6]])


def test_a_cell_of_another_kind():
    with pytest.raises(UsageError, match=r"model.tree_cell 'lstm' is a cell of kind 'sequence'; give one of rntn"):
        TreeClassifierConfig(tree_cell="lstm")
