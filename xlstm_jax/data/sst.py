"""The Stanford Sentiment Treebank: sentences from film reviews, with a sentiment from 0 to 4 for each phrase.

Socher et al. 2013, "Recursive deep models for semantic compositionality over a sentiment treebank" (EMNLP): 8,544 trees
for training, 1,101 for validation, 2,210 for testing, distributed as PTB trees: (3 (2 It) (4 ...)).
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.errors import UsageError

SENTIMENTS = ("very negative", "negative", "neutral", "positive", "very positive")
SPLITS = {"train": "train.txt", "validation": "dev.txt", "test": "test.txt"}

_COMMIT = "12bb731ba9fbdcdf2368b8515a241773f2b97547"
for _name, _sha256 in {
    "train.txt": "3287e6df56acb2ccba2bc3ebb7a696c0daee8d2fa00988348bbf37796bc3739d",
    "dev.txt": "0e9336aed6e4730e19f58d00a77b3f0297efdb755f7b5e598c98a05e3f97ea40",
    "test.txt": "6e54806dee95cf80cd918e7dfb3f6770f6df24bf826f289a4d1f709e1c8f6761",
}.items():
    FILES[f"sst/{_name}"] = RemoteFile(github("munikarmanish/RNTN", _COMMIT, f"trees/{_name}"), _sha256)


class Tree(NamedTuple):
    """A phrase: a word or two smaller phrases."""

    sentiment: int  # 0 to 4
    word: str  # "" for a phrase of several words
    parts: tuple["Tree", ...]

    def words(self) -> Iterator[str]:
        """The words in order."""
        nodes = [self]
        while nodes:
            node = nodes.pop()
            if node.word:
                yield node.word
            nodes += reversed(node.parts)

    def phrases(self) -> Iterator["Tree"]:
        """The phrase itself and all phrases inside it."""
        nodes = [self]
        while nodes:
            node = nodes.pop()
            yield node
            nodes += node.parts


def read(split: str) -> list[Tree]:
    """Returns the trees of "train", "validation" or "test". Downloads the files on first use."""
    lines = _lines(split)
    if split == "train":
        # This train.txt ends with the validation trees, which the published training split does not have.
        validation = _lines("validation")
        lines = lines[: -len(validation)] if lines[-len(validation) :] == validation else lines
    return [parse(line) for line in lines]


def _lines(split: str) -> list[str]:
    text = fetch(f"sst/{SPLITS[split]}").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip()]


def parse(text: str) -> Tree:
    """Parses one tree in bracketed form; raises `UsageError` for anything else."""
    stack: list[tuple[int, list[Tree], str]] = []
    for token in re.findall(r"\(\d|\)|[^\s()]+", text):
        if token.startswith("("):
            stack.append((int(token[1:]), [], ""))
        elif token == ")" and stack:
            sentiment, parts, word = stack.pop()
            tree = Tree(sentiment, word, tuple(parts))
            if not stack:
                return tree
            stack[-1][1].append(tree)
        elif stack:
            # Brackets in the text are written -LRB- and -RRB-.
            stack[-1] = (*stack[-1][:2], {"-LRB-": "(", "-RRB-": ")"}.get(token, token))
    raise UsageError(f"{text[:60]!r} is not a tree; write it like (3 (2 It) (4 shines))")
