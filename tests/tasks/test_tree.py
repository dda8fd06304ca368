"""Phrases of trees: loss and accuracies by hand, two classes, what is learned, answers and their figure, errors."""

import json

import jax
import matplotlib
import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.data.trees import LABEL
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.tree import TreeConfig, TreeTask
from xlstm_jax.train.build import build
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

GOOD, BAD = ("fine", "great", "lovely"), ("poor", "dull", "awful")


def tree(rng, words):
    """A random tree whose phrases have the sentiment of their words, turned around by a "not" to the left."""
    if words == 1:
        good = bool(rng.integers(2))
        return int(good) * 4, str(rng.choice(GOOD if good else BAD))
    if rng.random() < 0.3:
        sentiment, text = tree(rng, words - 1)
        return 4 - sentiment, f"(2 not) ({sentiment} {text})"
    left = int(rng.integers(1, words))
    parts = [tree(rng, left), tree(rng, words - left)]
    sentiment = round(sum(sentiment for sentiment, _ in parts) / 2)
    return sentiment, " ".join(f"({sentiment} {text})" for sentiment, text in parts)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in {"train": 400, "validation": 50, "test": 50}.items():
        drawn = [tree(rng, int(rng.integers(1, 6))) for _ in range(count)]
        (tmp_path / f"{split}.txt").write_text("".join(f"({sentiment} {text})\n" for sentiment, text in drawn))
    return str(tmp_path)


def made(folder, **data):
    config = tiny_config("tree", folder)
    config.data.path = folder
    config.data.update(data)
    config.model.dropout = config.model.head_dropout = config.model.token_dropout = 0.0
    return config


@pytest.mark.parametrize("classes", [2, 5])
def test_loss_and_accuracies_by_hand(folder, classes):
    """Of all labelled phrases, of sentences, and of those that are not neutral."""
    parts = build(made(folder, classes=classes).to_dict())
    params = parts.new_params()
    batch = next(iter(parts.task.batches("validation")))
    outcome, logits = jax.jit(
        lambda batch: (
            parts.task.forward(parts.model(params), batch, None, None),
            parts.task.predict(parts.model(params), batch),
        )
    )(batch)
    p = np.asarray(jax.nn.softmax(logits), np.float64)
    nats, right, roots, polar, same = [], [], [], [], []
    for tree in range(len(p)):
        for node, label in enumerate(batch.label_BN[tree]):
            if label >= 0:
                nats.append(-np.log(p[tree, node, label]))
                right.append(p[tree, node].argmax() == label)
        root = batch.lengths_B[tree] - 1
        label = batch.label_BN[tree, root]
        roots.append(p[tree, root].argmax() == label)
        if classes == 5 and label != 2:
            polar.append(1)
            same.append((p[tree, root, 3:].sum() > p[tree, root, :2].sum()) == (label > 2))
    assert float(outcome.loss.total) == pytest.approx(np.sum(nats), rel=1e-5) and outcome.loss.count == len(nats)
    assert tuple(outcome.ratios["phrase_accuracy"]) == (sum(right), len(right))
    assert tuple(outcome.ratios["accuracy"]) == (sum(roots), len(roots))
    assert ("binary_accuracy" in outcome.ratios) == (classes == 5)
    if classes == 5:
        assert tuple(outcome.ratios["binary_accuracy"]) == (sum(same), len(polar))


def test_two_classes(folder):
    """Neutral phrases have no label; neutral sentences are trained on, but not scored."""
    five, two = (TreeTask(TreeConfig(path=folder, classes=classes, batch_size=4)) for classes in (5, 2))
    assert len(two._rows["train"][0]) == 400 and len(two._rows["test"][0]) < len(five._rows["test"][0])
    for a, b in zip(five._rows["train"][0], two._rows["train"][0], strict=True):
        wanted = np.select([a[:, LABEL] > 2, a[:, LABEL] == 2], [1, -1], 0)
        np.testing.assert_array_equal(b[:, LABEL], wanted)
    assert all(row[-1, LABEL] >= 0 for row in two._rows["test"][0])


@pytest.mark.slow
def test_what_depends_on_the_tree_is_learned(folder, tmp_path):
    """And the answer to a tree has each phrase's class; a sentence without brackets gets a tree."""
    config = made(folder)
    config.data.batch_size, config.optimizer.learning_rate = 32, 1e-2
    config.train.steps, config.train.eval_every = 300, 100
    assert train(config, tmp_path / "run") == 0
    (scored,) = [record for record in read_metrics(tmp_path / "run") if "test/accuracy" in record]
    assert scored["test/accuracy"] > 0.9 and scored["test/phrase_accuracy"] > 0.95
    parts, params, _ = saved.load(tmp_path / "run")
    task = parts.task
    for text, words in (("(0 (2 not) (4 great))", ["not great", "great", "not"]), ("not great", None)):
        example = task.read(text)
        predicted = jax.jit(lambda batch: task.predict(parts.model(params), batch))(task.collate([example]))
        answer = json.loads(json.dumps(task.render(np.asarray(predicted)[0], example)))
        assert answer["label"] == "very negative" and sum(answer["probabilities"].values()) == pytest.approx(1)
        labels = {phrase["phrase"]: phrase["label"] for phrase in answer["phrases"]}
        assert labels["not great"] == "very negative" and labels["great"] == "very positive"
        assert words is None or list(labels) == words
    axes = matplotlib.figure.Figure().subplots()
    task.draw(axes, answer, example)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["not", "great"] and len(axes.lines) == 2


def test_errors(folder):
    task = TreeTask(TreeConfig(path=folder, batch_size=4))
    for text, message in {
        " ": "the input is empty; give a sentence",
        "a " * 1001: "the input has 1001 words; give at most 1000",
        "(3 (2 It)": "is not a tree; write it like",
        "(3 (2 It) (2 is) (2 so))": "a phrase has 3 parts; give binary trees",
    }.items():
        with pytest.raises(UsageError, match=message):
            task.read(text)


@needs_mirror("sst/")
def test_the_treebank():
    """8,544 trees to train on; with two classes 1,821 sentences are scored (Socher et al. 2013)."""
    for classes, scored in ((5, 2210), (2, 1821)):
        task = TreeTask(TreeConfig(classes=classes))
        assert {name: len(rows) for name, (rows, _) in task._rows.items()}["test"] == scored
        assert len(task._rows["train"][0]) == 8544
