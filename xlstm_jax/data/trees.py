"""Labelled binary trees of words as rows of numbers, and their batches."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from xlstm_jax.data.codecs import padded
from xlstm_jax.data.lines import read_lines
from xlstm_jax.data.sst import SPLITS, Tree, parse
from xlstm_jax.errors import UsageError

Shape = Literal["parsed", "balanced", "chain"]

NONE = -1  # no word, label or child

# Columns of a row, of each node in order of its height: leaves first, from left to right, and the root last.
WORD, LABEL, LEFT, RIGHT, START, END, HEIGHT = range(7)
CHILDREN, SPAN = [LEFT, RIGHT], [START, END]


class Trees(NamedTuple):
    """A batch of trees with up to N nodes, leaves first; the words are those of the leaves, in order."""

    tokens_BN: np.ndarray  # int32, -1 for nodes without a word and in the padding
    label_BN: np.ndarray  # int32, -1 for nodes without a label and in the padding
    children_BNC: np.ndarray  # int32, N for no child
    spans_BNC: np.ndarray  # int32: the first word of a node's phrase, and the one after its last
    rows_BRK: np.ndarray  # int32: nodes computed together, after all their children; N for an empty place; no leaves
    lengths_B: np.ndarray  # int32: nodes of each tree


def row_of(tree: Tree, encode: Callable[[list[str]], np.ndarray], label: Callable[[int], int]) -> np.ndarray:
    """[N, 7] int32: the columns above.

    Args:
        tree: binary.
        encode: tokens of words.
        label: the class of a sentiment; `NONE` for none.
    """
    table = np.full((0, 7), NONE, np.int32).tolist()
    words: list[str] = []
    # In this order, each phrase comes after its two parts, which are on top of the stack.
    stack: list[int] = []
    for node in reversed([*_parents_first(tree)]):
        if node.word:
            words.append(node.word)
            table.append([len(words) - 1, label(node.sentiment), NONE, NONE, len(words) - 1, len(words), 0])
        else:
            right, left = stack.pop(), stack.pop()
            height = 1 + max(table[left][HEIGHT], table[right][HEIGHT])
            table.append([NONE, label(node.sentiment), left, right, table[left][START], table[right][END], height])
        stack.append(len(table) - 1)
    rows_NX = np.array(table, np.int32)
    tokens = np.asarray(encode(words), np.int32)
    rows_NX[:, WORD] = np.where(rows_NX[:, WORD] < 0, NONE, tokens[rows_NX[:, WORD]])
    order_N = np.argsort(rows_NX[:, HEIGHT], kind="stable")
    place_N = np.append(np.argsort(order_N), NONE)  # the last one is where NONE points
    rows_NX[:, CHILDREN] = place_N[rows_NX[:, CHILDREN]]
    return rows_NX[order_N]


def _parents_first(tree: Tree) -> Iterator[Tree]:
    """All nodes, parents before children and right before left, so that the reverse order has left parts first."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += node.parts


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int, width: int) -> Trees:
    """Pads trees to the largest, rounded up to a multiple so that few shapes are compiled; `width` nodes a row."""
    del labels  # each node has its own
    nodes_BNX, lengths_B = padded(rows, multiple_of=multiple_of)
    most = nodes_BNX.shape[1]
    nodes_BNX[np.arange(most) >= lengths_B[:, None]] = NONE
    orders = [_order(row[:, HEIGHT], width) for row in rows]
    # The number of rows is rounded up too.
    count = -(-max(1, *(len(order) for order in orders)) // 8) * 8
    rows_BRK = np.full((len(rows), count, width), most, np.int32)
    for order, rows_RK in zip(orders, rows_BRK, strict=True):
        rows_RK[: len(order)] = np.where(order < 0, most, order)
    children_BNC, spans_BNC = nodes_BNX[:, :, CHILDREN], np.maximum(nodes_BNX[:, :, SPAN], 0)
    children_BNC = np.where(children_BNC < 0, most, children_BNC)
    return Trees(nodes_BNX[:, :, WORD], nodes_BNX[:, :, LABEL], children_BNC, spans_BNC, rows_BRK, lengths_B)


def _order(height_N: np.ndarray, width: int) -> np.ndarray:
    """[R, K] inner nodes, which come in order of their height, cut into rows of one height; NONE for empty places."""
    leaves = np.count_nonzero(height_N == 0)
    inner_M = height_N[leaves:] - 1
    sizes = np.bincount(inner_M) if len(inner_M) else np.zeros(0, int)
    first = np.cumsum([0, *-(-sizes // width)])  # row at which each height begins
    within_M = np.arange(len(inner_M)) - np.cumsum([0, *sizes])[inner_M]
    rows_RK = np.full((first[-1], width), NONE, np.int32)
    rows_RK[first[inner_M] + within_M // width, within_M % width] = np.arange(leaves, len(height_N))
    return rows_RK


def shaped(tree: Tree, shape: Shape) -> Tree:
    """The tree, or one of another shape over its words: balanced, or a chain that joins one word after the other.

    A phrase of the new tree has the sentiment of the same words in the old one, or -1.
    """
    if shape == "parsed":
        return tree
    known = {}
    words = [*tree.words()]
    for row in row_of(tree, lambda words: np.zeros(len(words), np.int32), lambda sentiment: sentiment).tolist():
        known[row[START], row[END]] = row[LABEL]
    return _joined(words, known, shape)


def over(words: list[str], shape: Shape = "balanced") -> Tree:
    """A tree over words without labels."""
    return _joined(words, {}, shape)


def _joined(words: list[str], known: dict[tuple[int, int], int], shape: Shape) -> Tree:
    def label(start: int, end: int) -> int:
        return known.get((start, end), NONE)

    leaves = [Tree(label(n, n + 1), word, ()) for n, word in enumerate(words)]
    if shape == "chain":
        tree = leaves[0]
        for n, leaf in enumerate(leaves[1:], start=2):
            tree = Tree(label(0, n), "", (tree, leaf))
        return tree

    def balanced(start: int, end: int) -> Tree:
        if end - start == 1:
            return leaves[start]
        middle = (start + end + 1) // 2
        return Tree(label(start, end), "", (balanced(start, middle), balanced(middle, end)))

    return balanced(0, len(words))


def folder(path: str) -> dict[str, list[Tree]]:
    """The trees in a folder: train.txt and, if they are there, validation.txt and test.txt, one tree per line.

    Raises:
        UsageError: train.txt is missing, a file is empty or not UTF-8, or a line is not a binary tree with sentiments
            from 0 to 4.
    """
    parts = {}
    for split in SPLITS:
        file = Path(path).expanduser() / f"{split}.txt"
        if file.is_file() or split == "train":
            lines = read_lines(file, "a tree such as (3 (2 It) (4 shines))")
            parts[split] = [_checked(file, number, line) for number, line in enumerate(lines, start=1)]
    return parts


def _checked(path: Path, number: int, line: str) -> Tree:
    try:
        return binary(parse(line))
    except UsageError as error:
        raise UsageError(f"{str(path)!r} line {number}: {error}") from error


def binary(tree: Tree) -> Tree:
    """The tree; `UsageError` if a phrase does not have two parts, or a sentiment is not from 0 to 4."""
    for phrase in tree.phrases():
        if (phrase.word and phrase.parts) or (not phrase.word and len(phrase.parts) != 2):
            count = len(phrase.parts) + bool(phrase.word)
            raise UsageError(f"a phrase has {count} parts; give binary trees such as (3 (2 It) (4 shines))")
        if not 0 <= phrase.sentiment <= 4:
            raise UsageError(
                f"sentiment {phrase.sentiment} is not allowed; give 0 (very negative) to 4 (very positive)"
            )
    return tree
