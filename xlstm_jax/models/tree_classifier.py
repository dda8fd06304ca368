"""Classifiers of every phrase of a sentence: a cell over its tree, or a stack over its words."""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P

from xlstm_jax.cells import CELLS
from xlstm_jax.config import NonNegativeFloat, Rate
from xlstm_jax.errors import UsageError
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Tokens, replaced
from xlstm_jax.models.stack import Stack
from xlstm_jax.nn import Tree
from xlstm_jax.ops.tree import joined
from xlstm_jax.sharding import on_each_device


@dataclasses.dataclass(frozen=True)
class TreeClassifierConfig(StackConfig, name="model"):
    """A classifier of phrases; a tree cell does without `pattern`."""

    kind: Literal["tree", "stack"] = "tree"  # tree: `tree_cell` over the phrases; stack: `pattern` over the words
    tree_cell: str = "treelstm_nary"  # a registered cell over trees
    directions: Directions = "both"  # of the stack: forward, alternate (every second block backward) or both
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of words that training replaces with the unknown word
    head_dropout: Rate = 0.0  # dropout rate of the phrases' features

    def __post_init__(self):
        super().__post_init__()
        if (kind := CELLS.get(self.tree_cell).kind) != "tree":
            known = ", ".join(name for name in CELLS.names() if CELLS.get(name).kind == "tree")
            raise UsageError(f"model.tree_cell {self.tree_cell!r} is a cell of kind {kind!r}; give one of {known}")


class WordTrees(NamedTuple):
    """What a classifier of phrases reads: binary trees with up to N nodes, the leaves first and in the words' order."""

    tokens_BN: jax.Array  # -1 for nodes without a word
    children_BNC: jax.Array  # N for no child
    spans_BNC: jax.Array  # the first word of a node's phrase, and the one after its last
    rows_BRK: jax.Array  # see `ops.tree.joined`
    lengths_B: jax.Array  # nodes of each tree


class TreeClassifier(nnx.Module):
    """logits of a phrase = head(features of its node).

    With a tree cell, the features are the cell's output at the node; words enter at the leaves. With a stack, they are
    the mean of the stack's outputs over the phrase's words.

    Args:
        config: sizes and options.
        vocab_size: number of words.
        classes: A.
        unknown: the token that replaces dropped words in training.
    """

    def __init__(self, config: TreeClassifierConfig, vocab_size: int, classes: int, *, unknown: int, rngs: nnx.Rngs):
        features, dtype = config.features, config.dtype
        self.config, self.unknown = config, unknown
        self.embedding = Tokens(vocab_size, features, std=config.embedding_std, dtype=dtype, rngs=rngs)
        is_tree = config.kind == "tree"
        self.tree = Tree(config.tree_cell, features, features, dtype=dtype, rngs=rngs) if is_tree else None
        self.stack = None if is_tree else Stack(config, config.directions, rngs=rngs)
        self.head = Head(features, classes, dtype=dtype, rngs=rngs)
        self.read, self.dropped = nnx.Dropout(config.dropout), nnx.Dropout(config.head_dropout)

    def classify(self, trees: WordTrees, key: jax.Array | None = None) -> jax.Array:
        """Logits [B, N, A] of all nodes, at least float32. Dropout is active if a `key` is given."""
        token_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        x_BND = self._on_words(trees, token_key, key) if self.tree is None else self._on_tree(trees, token_key, key)
        return self.head(self.dropped(x_BND, deterministic=head_key is None, rngs=head_key))

    def _on_tree(self, trees: WordTrees, token_key, key) -> jax.Array:
        word_BN1 = (trees.tokens_BN >= 0)[..., None]
        x_BND = self.embedding(self._tokens(trees.tokens_BN, token_key))
        x_BND = jnp.where(word_BN1, self.read(x_BND, deterministic=key is None, rngs=key), jnp.zeros_like(x_BND))
        graphdef, weights = nnx.split(self.tree)

        def run(x_BND, rows_BRK, children_BNC, weights):
            y_MF, _ = nnx.merge(graphdef, weights)(x_BND.reshape(-1, x_BND.shape[2]), joined(rows_BRK, children_BNC))
            return y_MF.reshape(*x_BND.shape[:2], -1)

        batch = P("batch", None, None)
        specs = batch, batch, batch, jax.tree.map(lambda _: P(), weights)
        return on_each_device(run, (x_BND, trees.rows_BRK, trees.children_BNC, weights), specs, batch)

    def _on_words(self, trees: WordTrees, token_key, key) -> jax.Array:
        # A binary tree of n words has 2 n - 1 nodes, the words first.
        words_B = (trees.lengths_B + 1) // 2
        tokens_BT = trees.tokens_BN[:, : (trees.tokens_BN.shape[1] + 1) // 2]
        x_BTD, _ = self.stack(self.embedding(self._tokens(tokens_BT, token_key)), lengths=words_B, key=key)
        # The mean over a phrase is a difference of two sums over the words from the first one on.
        sums_BTD = jnp.cumsum(jnp.pad(x_BTD.astype(jnp.float32), ((0, 0), (1, 0), (0, 0))), axis=1)
        start_BND, end_BND = (
            jnp.take_along_axis(sums_BTD, trees.spans_BNC[:, :, place, None], axis=1) for place in range(2)
        )
        count_BN1 = jnp.diff(trees.spans_BNC, axis=2)
        return ((end_BND - start_BND) / jnp.maximum(count_BN1, 1).astype(jnp.float32)).astype(x_BTD.dtype)

    def _tokens(self, tokens: jax.Array, key) -> jax.Array:
        return jnp.maximum(replaced(tokens, self.unknown, self.config.token_dropout, key), 0)
