"""Sentiment: words, labels, metrics by hand, a folder of one's own, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.data import sst
from xlstm_jax.data.labelled import BINARY, split_words
from xlstm_jax.data.sentences import Sentences
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.sentiment import Sentiment, SentimentCodec, SentimentConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

GOOD, BAD = "a fine and funny film", "dull , slow and long"
needs_data = needs_mirror("sst/")


def write(folder, **splits):
    folder.mkdir(exist_ok=True)
    for name, rows in splits.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    rows = [(GOOD, "up"), (BAD, "down")] * 20
    return write(tmp_path / "data", train=rows, validation=rows[:9], test=rows[:4])


def test_words_as_the_treebank_has_them():
    text = "It's a well-made film, isn't it -- don't miss (it)..."
    assert " ".join(split_words(text)) == "It 's a well-made film , is n't it -- do n't miss ( it ) ..."
    assert " ".join(split_words("DON'T say it\u2019s isn\u2019t")) == "DO N'T say it 's is n't"


def test_metrics_by_hand(folder):
    """Rows that only fill up a batch do not count."""
    task = Sentiment(SentimentConfig(path=str(folder), batch_size=4))
    batch = Sentences(np.ones((4, 8), np.int32), np.array([0, 1, 1, 0], np.int32), np.array([8, 3, 1, 0], np.int32))
    logits = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)

    class Table:
        def classify(self, tokens, lengths, key=None):
            return jnp.asarray(logits)

    outcome = task.forward(Table(), batch, None, None)
    result = metrics(task, added({}, {"loss": outcome.loss, **outcome.ratios}))
    log_p = np.asarray(jax.nn.log_softmax(logits))[np.arange(3), batch.label_B[:3]]
    assert result == pytest.approx(
        {"loss": -log_p.mean(), "accuracy": (logits.argmax(1) == batch.label_B)[:3].mean(), "sentences": 3}, rel=1e-6
    )


@pytest.mark.slow
def test_a_folder_of_ones_own_is_learned(folder, tmp_path, capsys):
    """And the checkpoint with the best accuracy is kept, and asked in the words of a user."""
    config = tiny_config("sentiment", tmp_path)
    config.data.path, config.model.features, config.model.pattern = str(folder), 8, "r"
    config.model.update({"dropout": 0.0, "head_dropout": 0.0, "token_dropout": 0.0, "directions": "both"})
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 3e-2, 20, 5
    assert train(config, tmp_path / "run") == 0
    assert train(config, tmp_path / "run") == 0  # which has ended, so that nothing is scored again
    scored = read_metrics(tmp_path / "run")
    assert [(r["step"], r["test/accuracy"]) for r in scored if "test/accuracy" in r] == [(20, 1)]
    records = [record for record in scored if "validation/accuracy" in record]
    assert records[-1]["validation/accuracy"] == 1
    parts, params, step = saved.load(tmp_path / "run")
    best = max(records, key=lambda record: (record["validation/accuracy"], record["step"]))  # of equals the latest
    assert step == best["step"] and evaluate(parts, params, "test")["accuracy"] == 1
    assert "classes down, up" in capsys.readouterr().out
    codec = SentimentCodec.from_json(json.loads(json.dumps(parts.task.codec.to_json())))
    again = Sentiment(parts.task.config, codec)
    (folder / "train.jsonl").unlink()  # predictions need no data
    tokens = again.read("A FINE film!")
    np.testing.assert_array_equal(tokens, codec.words.encode(["a", "fine", "film", "!"]))
    answer = again.render(predict(parts, params, again.collate([tokens]))[0], tokens)
    assert answer["label"] == "up" and sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [(GOOD, "up")]}, r"cannot read '.*validation\.jsonl': .*; give UTF-8 text, a JSON object per line"),
        (
            {"train": [("", "up")], "validation": [(BAD, "up")]},
            r"train\.jsonl' line 1: \"text\" must be a string with at least",
        ),
        ({"train": [(GOOD, 1.5)], "validation": [(BAD, "up")]}, r"line 1: .*\"label\" a string or an integer"),
        (
            {"train": [(GOOD, "up"), (BAD, "down")], "validation": [(BAD, "sideways")]},
            "label 'sideways' of split 'validation' is not one of",
        ),
        (
            {"train": [(GOOD, "up")] * 7, "validation": [(BAD, "up")]},
            "all have the class 'up'; give examples of two or",
        ),
        (
            {"train": [(GOOD, "up")] * 6 + [(BAD, "down")], "validation": [(BAD, "up")]},
            r"data\.batch_size 8 is more than the 7 training",
        ),
    ],
)
def test_a_folder_that_cannot_be(tmp_path, splits, message):
    config = tiny_config("sentiment", tmp_path).to_dict()
    config["data"]["path"] = str(write(tmp_path / "data", **splits))
    with pytest.raises(UsageError, match=message) as caught:
        train_and_score(config)
    assert "\n" not in str(caught.value)


def train_and_score(config):
    parts = build(config)
    return parts.task.batches("validation")


def test_a_line_ends_only_at_a_newline(folder):
    """JSON may hold U+2028 as it is, which `str.splitlines` takes for the end of a line."""
    record = json.dumps({"text": "one\u2028line", "label": "up"}, ensure_ascii=False)
    for split in ("train", "validation", "test"):
        rows = f"{record}\n" * 3 + record.replace("up", "down") + "\n"
        (folder / f"{split}.jsonl").write_text(rows, encoding="utf-8")
    task = Sentiment(SentimentConfig(path=str(folder), batch_size=4))
    assert "train 4, validation 4, test 4" in task.summary() and "line" in task.codec.words.words


def test_lines_that_are_no_records(folder):
    for content, message in ((b"{}\n", "is not a JSON object with"), (b"\xff\n", "cannot read"), (b"", "is empty")):
        (folder / "train.jsonl").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            Sentiment(SentimentConfig(path=str(folder)))


def test_inputs_that_cannot_be(folder):
    task = Sentiment(SentimentConfig(path=str(folder), batch_size=8))
    for text, message in (
        ("  ", "the input is empty; give a sentence"),
        ("word " * 1001, "1001 words; give at most 1000"),
    ):
        with pytest.raises(UsageError, match=message):
            task.read(text)


@pytest.mark.slow
@needs_data
def test_the_treebank(tmp_path):
    """Binary leaves neutral sentences out; phrases are for training only; the majority is half of the test split."""
    task = Sentiment(SentimentConfig())
    sizes = {name: len(labels) for name, (_, labels) in task._rows.items()}
    assert sizes["validation"] == 872 and sizes["test"] == 1821 and sizes["train"] == 77_616
    assert task.codec.labels.names == BINARY
    shares = np.bincount(task.splits["test"][1]) / 1821
    assert shares.max() == pytest.approx(0.5, abs=0.01)
    five = Sentiment(SentimentConfig(classes=5, phrases=False))
    assert {name: len(labels) for name, (_, labels) in five._rows.items()} == {
        "train": 8544 - _twice(),
        "validation": 1101,
        "test": 2210,
    }


def _twice():
    """Training sentences that the treebank has twice, with the same sentiment."""
    rows = [(tuple(tree.words()), tree.sentiment) for tree in sst.read("train")]
    return len(rows) - len(set(rows))
