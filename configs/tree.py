"""Sentiment of every phrase of a sentence, by a network over its tree (Stanford Sentiment Treebank).

    python -m experiments.train --config=configs/tree.py:nary --workdir=/tmp/tree

Variants: nary and childsum (Tree-LSTMs), rntn (recursive neural tensor network), and models that read the words from
left to right and average over each phrase: lstm, bilstm, gru, xlstm, transformer. With any of them: `two` for two
classes instead of five, `balanced` or `chain` for trees of that shape instead of the parser's, as in `nary,two`; and
`tiny` (seconds, for tests). Word vectors are not pretrained. `--config.data.path=FOLDER` reads your own trees:
train.txt and perhaps validation.txt and test.txt, with a tree such as (3 (2 It) (4 shines)) in each line.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base
from configs._families import alternating_xlstm, stack_of
from configs._variants import Variants, compose, few_steps

Change = Callable[[ConfigDict], None]


def cell(name: str) -> Change:
    """A variant: that cell over trees."""

    def change(config: ConfigDict) -> None:
        config.model.kind = "tree"
        config.model.tree_cell = name

    return change


def rntn(config: ConfigDict) -> None:
    cell("rntn")(config)
    config.model.features = 32  # its tensor has 4 features^3 numbers


def words(stack: Change) -> Change:
    """A variant: that stack over the words."""

    def change(config: ConfigDict) -> None:
        config.model.kind = "stack"
        stack(config)

    return change


def two(config: ConfigDict) -> None:
    config.data.classes = 2


def shape(name: str) -> Change:
    """A variant: trees of that shape."""

    def change(config: ConfigDict) -> None:
        config.data.shape = name

    return change


def tiny(config: ConfigDict) -> None:
    config.data.batch_size = 8
    config.data.multiple_of = 64
    config.model.features = 16
    few_steps(config)


VARIANTS: Variants = {
    "nary": cell("treelstm_nary"),
    "childsum": cell("treelstm_childsum"),
    "rntn": rntn,
    "lstm": words(stack_of("lstm", 1, "forward")),
    "bilstm": words(stack_of("lstm", 1, "both")),
    "gru": words(stack_of("gru", 1)),
    "xlstm": words(alternating_xlstm),
    "transformer": words(stack_of("transformer", directions="alternate")),
    "two": two,
    "balanced": shape("balanced"),
    "chain": shape("chain"),
    "tiny": tiny,
}


def get_config(variant: str = "") -> ConfigDict:
    config = base.get_config("tree")
    config.model.features = 152
    config.model.final_norm = False
    config.model.dropout = 0.5
    config.model.head_dropout = 0.5
    config.model.token_dropout = 0.1
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.weight_decay = 0.05
    config.train.steps = 3_000
    config.train.eval_every = 300
    config.train.log_every = 50
    return compose(config, variant, VARIANTS, "nary")
