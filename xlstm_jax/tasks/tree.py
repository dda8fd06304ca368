"""Tell the sentiment of every phrase of a sentence, given its tree: the Stanford Sentiment Treebank."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data import labelled, sst, trees
from xlstm_jax.data.codecs import Labels, Vocabulary, power_of_two
from xlstm_jax.data.parts import with_validation
from xlstm_jax.data.trees import Trees
from xlstm_jax.models.tree_classifier import TreeClassifier, TreeClassifierConfig, WordTrees
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.examples import Examples, ExamplesTask, unlabelled
from xlstm_jax.tasks.sentiment import SentimentCodec

NEUTRAL = 2


@dataclasses.dataclass(frozen=True)
class TreeConfig(Section, name="data"):
    path: str = ""  # folder with train.txt and perhaps validation.txt and test.txt of trees; "": SST
    validation: Rate = 0.1  # share of the training trees for validation, where a folder has no part for it
    classes: Literal[2, 5] = (
        5  # 2: negative and positive; neutral phrases have no label, neutral sentences are left out
    )
    shape: trees.Shape = "parsed"  # parsed: the data's trees; balanced or chain: others, over the same words
    lowercase: bool = True  # convert words to lower case
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 32  # trees in a batch, of similar size
    width: PositiveInt = 2  # nodes of a tree that are computed together
    multiple_of: PositiveInt = 32  # nodes are padded to a multiple of it, so that few programs are compiled


class Parsed(NamedTuple):
    """A sentence to predict."""

    row_NX: np.ndarray  # see `data.trees`
    words: list[str]

    def __len__(self) -> int:
        return len(self.row_NX)


@TASKS.register("tree")
class TreeTask(ExamplesTask):
    """Class of every phrase of a tree; cross-entropy over all labelled phrases.

    Metrics: `accuracy`, of whole sentences, selects the checkpoint; `phrase_accuracy`, of all phrases; with five
    classes `binary_accuracy`, of sentences that are not neutral, by whether negative or positive classes are more
    probable together.
    """

    Config, Model = TreeConfig, TreeClassifierConfig
    best = ("accuracy", "higher")
    unit = "nats per phrase"
    detail = ("phrases",)

    def __init__(self, config: TreeConfig, codec: SentimentCodec | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            texts, labels = ([*tree.words()] for tree in self._trees["train"]), labelled.treebank_labels(config.classes)
            self.codec = SentimentCodec.of(texts, Labels(labels), config.lowercase, "words", least=config.least_count)
            self.train_batches(seed=0)  # too few trees show before anything is built

    @functools.cached_property
    def _trees(self) -> dict[str, list[sst.Tree]]:
        path = self.config.path
        parts = trees.folder(path) if path else {split: sst.read(split) for split in sst.SPLITS}
        return with_validation(parts, self.config.validation)

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        parts = {}
        for split, part in self._trees.items():
            scored = split != "train" and self.config.classes == 2
            kept = [tree for tree in part if not (scored and tree.sentiment == NEUTRAL)]
            parts[split] = unlabelled([self._row(trees.shaped(tree, self.config.shape)) for tree in kept])
        return parts

    def _row(self, tree: sst.Tree) -> np.ndarray:
        return trees.row_of(tree, self.codec.encode, self._label)

    def _label(self, sentiment: int) -> int:
        if len(self.codec.labels) == 5 or sentiment == trees.NONE:
            return sentiment
        return trees.NONE if sentiment == NEUTRAL else int(sentiment > NEUTRAL)

    def _make(self, rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> Trees:
        return trees.batch_of(rows, labels, multiple_of, self.config.width)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> SentimentCodec:
        return SentimentCodec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.labels))

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(rows):,}" for name, (rows, _) in self._rows.items())
        return f"trees: {sizes}; {len(self.codec.words):,} words; classes {', '.join(self.codec.labels.names)}"

    def build(self, config: TreeClassifierConfig, *, rngs: nnx.Rngs) -> TreeClassifier:
        sizes = len(self.codec.words), len(self.codec.labels)
        return TreeClassifier(config, *sizes, unknown=Vocabulary.UNKNOWN, rngs=rngs)

    def forward(self, model: TreeClassifier, batch: Trees, carry: Any, key: jax.Array | None) -> Outcome:
        logits_BNA = model.classify(_read(batch), key)
        labelled_BN = batch.label_BN >= 0
        label_BN = jnp.maximum(batch.label_BN, 0)
        nats_BN = optax.softmax_cross_entropy_with_integer_labels(logits_BNA, label_BN)
        right_BN = (jnp.argmax(logits_BNA, axis=-1) == label_BN) & labelled_BN
        count = _count(labelled_BN)
        ratios = {"phrase_accuracy": Ratio(_count(right_BN), count)}
        # The root is a tree's last node.
        root_B1 = jnp.maximum(batch.lengths_B - 1, 0)[:, None]
        right_B, labelled_B, root_B = (
            jnp.take_along_axis(a, root_B1, axis=1)[:, 0] for a in (right_BN, labelled_BN, label_BN)
        )
        ratios["accuracy"] = Ratio(_count(right_B), _count(labelled_B))
        if logits_BNA.shape[2] == 5:
            root_BA = jax.nn.softmax(jnp.take_along_axis(logits_BNA, root_B1[..., None], axis=1)[:, 0])
            positive_B = root_BA[:, 3:].sum(axis=1) > root_BA[:, :2].sum(axis=1)
            polar_B = labelled_B & (root_B != NEUTRAL)
            same_B = (positive_B == (root_B > NEUTRAL)) & polar_B
            ratios["binary_accuracy"] = Ratio(_count(same_B), _count(polar_B))
        return Outcome(Ratio(jnp.sum(jnp.where(labelled_BN, nats_BN, 0)), count), ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"sentences": float(ratios["accuracy"].count)}

    def read(self, text: str) -> Parsed:
        """A tree such as (3 (2 It) (4 shines)), or a sentence, which gets a balanced tree."""
        if text.lstrip().startswith("("):
            tree = trees.binary(sst.parse(text))
            labelled.check_words([*tree.words()])
        else:
            tree = trees.over(labelled.check_words(labelled.split_words(text)))
        return Parsed(self._row(tree), [*tree.words()])

    def blank(self, length: int) -> Parsed:
        words = [""] * ((length + 1) // 2)
        return Parsed(self._row(trees.over(["a"] * len(words))), words)

    def collate(self, examples: list[Parsed]) -> Trees:
        rows = [example.row_NX for example in examples]
        return self._make(rows, np.zeros(len(rows)), power_of_two(max(map(len, rows))))

    def predict(self, model: TreeClassifier, batch: Trees) -> jax.Array:
        return model.classify(_read(batch))

    def render(self, predicted: np.ndarray, example: Parsed) -> dict[str, Any]:
        phrases = []
        for (start, end), logits_A in zip(example.row_NX[:, trees.SPAN].tolist(), predicted, strict=False):
            shares = self.codec.labels.probabilities(logits_A)
            label = next(iter(shares))
            phrases.append({"phrase": " ".join(example.words[start:end]), "label": label, "probability": shares[label]})
        # The root is the last node, and comes first here.
        return {"label": label, "probabilities": shares, "phrases": phrases[::-1]}

    def draw(self, axes: Any, answer: dict[str, Any], example: Parsed) -> None:
        """The tree, each phrase in the colour of its class, from red (negative) to green (positive)."""
        import matplotlib

        names = self.codec.labels.names
        place_NX = np.stack([example.row_NX[:, trees.SPAN].mean(axis=1) - 0.5, example.row_NX[:, trees.HEIGHT]], 1)
        for (x, y), children in zip(place_NX, example.row_NX[:, trees.CHILDREN], strict=True):
            for child in children[children >= 0]:
                axes.plot(*zip((x, y), place_NX[child], strict=True), color="0.7", linewidth=1, zorder=1)
        number_N = [names.index(phrase["label"]) for phrase in answer["phrases"][::-1]]
        colours = matplotlib.colormaps["RdYlGn"](np.linspace(0, 1, len(names)))
        look = {"s": 60, "edgecolors": "0.4", "linewidths": 0.5, "zorder": 2}
        axes.scatter(*place_NX.T, c=colours[number_N], **look)
        for name, colour in zip(names, colours, strict=True):
            axes.scatter([], [], color=colour, label=name, **look)
        axes.legend(fontsize=7, frameon=False, loc="upper left")
        axes.set_xticks(range(len(example.words)), example.words, rotation=60, ha="right")
        axes.set_yticks([])
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)


def _read(batch: Trees) -> WordTrees:
    return WordTrees(batch.tokens_BN, batch.children_BNC, batch.spans_BNC, batch.rows_BRK, batch.lengths_B)


def _count(where: jax.Array) -> jax.Array:
    return jnp.sum(where, dtype=jnp.float32)
