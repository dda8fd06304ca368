"""Trees as rows of numbers: order of the nodes, other shapes, batches, folders, and trees that are refused."""

import numpy as np
import pytest

from xlstm_jax.data import trees
from xlstm_jax.data.sst import parse
from xlstm_jax.data.trees import END, HEIGHT, LABEL, LEFT, RIGHT, START, WORD
from xlstm_jax.errors import UsageError

LINE = "(4 (3 (2 A) (3 (3 very) (1 good))) (0 film))"


def row(tree, start=10):
    return trees.row_of(tree, lambda words: np.arange(start, start + len(words)), lambda sentiment: sentiment)


def test_a_row_by_hand():
    """Words from left to right, then phrases by height; the root is last."""
    got = row(parse(LINE))
    np.testing.assert_array_equal(got[:, WORD], [10, 11, 12, 13, -1, -1, -1])
    np.testing.assert_array_equal(got[:, LABEL], [2, 3, 1, 0, 3, 3, 4])
    np.testing.assert_array_equal(got[:, [LEFT, RIGHT]], [[-1, -1]] * 4 + [[1, 2], [0, 4], [5, 3]])
    np.testing.assert_array_equal(got[:, [START, END]], [[0, 1], [1, 2], [2, 3], [3, 4], [1, 3], [0, 3], [0, 4]])
    np.testing.assert_array_equal(got[:, HEIGHT], [0, 0, 0, 0, 1, 2, 3])
    np.testing.assert_array_equal(row(parse("(2 x)")), [[10, 2, -1, -1, 0, 1, 0]])


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_batch_computes_children_first(width):
    """Every inner node once, in a row after those of its children; empty places and padding have their numbers."""
    rows = [row(parse(LINE)), row(trees.over(list("abcdefghijk"))), row(parse("(2 x)"))]
    batch = trees.batch_of([*rows, rows[0][:0]], np.zeros(4), 8, width)
    most = batch.tokens_BN.shape[1]
    assert most == 24 and batch.lengths_B.tolist() == [7, 21, 1, 0] and batch.rows_BRK.shape[2] == width
    for tree, rows_RK, children_NC, tokens_N, labels_N in zip(
        rows, batch.rows_BRK, batch.children_BNC, batch.tokens_BN, batch.label_BN, strict=False
    ):
        row_N = np.full(most + 1, -1)
        for number, nodes in enumerate(rows_RK):
            row_N[nodes[nodes < most]] = number
        placed = rows_RK[rows_RK < most]
        leaves = (len(tree) + 1) // 2
        assert sorted(placed.tolist()) == list(range(leaves, len(tree)))
        for node, children in enumerate(children_NC[leaves : len(tree)], start=leaves):
            assert (row_N[children] < row_N[node]).all()
        assert (children_NC[len(tree) :] == most).all()
        assert (tokens_N[len(tree) :] == -1).all() and (labels_N[len(tree) :] == -1).all()
        np.testing.assert_array_equal(labels_N[: len(tree)], tree[:, LABEL])
    assert (batch.rows_BRK[3] == most).all()
    assert {a.dtype for a in batch} == {np.dtype(np.int32)}


def test_other_shapes_keep_what_is_known():
    """The same words, and the labels of phrases that both trees have."""
    tree = parse("(4 (3 (2 A) (3 very)) (1 (1 good) (0 film)))")
    chain, balanced = trees.shaped(tree, "chain"), trees.shaped(tree, "balanced")
    assert trees.shaped(tree, "parsed") is tree
    np.testing.assert_array_equal(row(balanced), row(tree))
    found = {tuple(r[[START, END]]): r[LABEL] for r in row(chain).tolist() for r in [np.array(r)]}
    assert found == {(0, 1): 2, (1, 2): 3, (2, 3): 1, (3, 4): 0, (0, 2): 3, (0, 3): -1, (0, 4): 4}
    assert [*chain.words()] == [*tree.words()]
    assert row(trees.over(["a"] * 1000, "chain"))[-1, HEIGHT] == 999


def test_a_folder(tmp_path):
    (tmp_path / "train.txt").write_text(f"{LINE}\n(2 x)\n")
    (tmp_path / "validation.txt").write_text("(1 (1 a) (2 b))\n")
    parts = trees.folder(str(tmp_path))
    assert {name: len(part) for name, part in parts.items()} == {"train": 2, "validation": 1}
    (tmp_path / "test.txt").write_text("(1 (1 a) (2 b))\nno tree\n")
    with pytest.raises(UsageError, match=r"test.txt' line 2: 'no tree' is not a tree"):
        trees.folder(str(tmp_path))
    (tmp_path / "train.txt").unlink()
    with pytest.raises(UsageError, match=r"cannot read .*train.txt"):
        trees.folder(str(tmp_path))


@pytest.mark.parametrize(
    "line, message",
    [
        ("(1 (1 a) (1 b) (1 c))", "a phrase has 3 parts; give binary trees"),
        ("(1 (1 a))", "a phrase has 1 parts"),
        ("(1)", "a phrase has 0 parts"),
        ("(1 a (1 b))", "a phrase has 2 parts"),
        ("(7 (1 a) (1 b))", "sentiment 7 is not allowed; give 0 "),
    ],
)
def test_trees_that_are_refused(line, message):
    with pytest.raises(UsageError, match=message):
        trees.binary(parse(line))
