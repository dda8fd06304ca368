"""Classification: the folds of MR, texts of one's own, characters, naive Bayes, and what is refused."""

import json

import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.data import polarity
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.classification import Classification, ClassificationCodec, ClassificationConfig
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved

GERMAN, FRENCH = "der Hund und die Katze", "le chien et la souris"
needs_data = needs_mirror("nltk/sentence_polarity.zip")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "languages"
    path.mkdir()
    for name, text in (("de", GERMAN), ("fr", FRENCH)):
        lines = [f"{text} {number}" for number in range(40)]
        (path / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    return path


def test_parts_are_cut_from_one(folder):
    """A share of each class; the same each time; no text is in two."""
    task = Classification(ClassificationConfig(path=str(folder), batch_size=8))
    assert "texts: train 64, validation 8, test 8" in task.summary() and "classes de, fr" in task.summary()
    rows = [tuple(row) for split in task._rows.values() for row in split[0]]
    assert len(set(rows)) > 70 and all(
        np.bincount(labels).tolist() == [len(labels) / 2] * 2 for _, labels in task._rows.values()
    )
    assert task.fingerprint() == Classification(ClassificationConfig(path=str(folder), batch_size=8)).fingerprint()


def test_characters(folder):
    """With one space between words; written as they were read; the codec says what they are."""
    config = ClassificationConfig(path=str(folder), batch_size=8, unit="characters", longest=30)
    task = Classification(config)
    tokens = task.read("  Der Hund,\tund \u00e9")
    assert task.codec.decode(tokens) == "der hund? und ?" and len(tokens) == 15
    assert len(task.read("x" * 99)) == 30
    codec = ClassificationCodec.from_json(json.loads(json.dumps(task.codec.to_json())))
    assert codec.unit == "characters" and codec.to_json() == task.codec.to_json()
    again = Classification(config, codec)
    np.testing.assert_array_equal(again.read("Der Hund"), tokens[:8])


@pytest.mark.parametrize("variant", ["languages,bilstm", "naive_bayes"])
@pytest.mark.slow
def test_languages_are_learned(folder, tmp_path, variant):
    from configs.classification import get_config

    config = get_config(f"{variant},tiny")
    config.data.path, config.mesh.data = str(folder), 1
    config.model.update({"dropout": 0.0, "head_dropout": 0.0, "token_dropout": 0.0})
    config.train.steps = config.train.eval_every = 8 if variant == "naive_bayes" else 40
    config.optimizer.learning_rate = 1.0 if variant == "naive_bayes" else 1e-2
    assert train(config, tmp_path / "run") == 0
    parts, params, _ = saved.load(tmp_path / "run")
    assert evaluate(parts, params, "test")["accuracy"] == 1
    if variant == "naive_bayes":  # one epoch counts each text once
        assert params["texts"].tolist() == [32, 32]
    (folder / "de.txt").unlink()  # predictions need no data
    task = Classification(parts.task.config, parts.task.codec)
    answers = predict(parts, params, task.collate([task.read("die Katze"), task.read("la souris")]))
    assert [task.render(answer, None)["label"] for answer in answers] == ["de", "fr"]


def test_refused(folder):
    def made(**options):
        return Classification(ClassificationConfig(path=str(folder), **{"batch_size": 8, **options}))

    with pytest.raises(UsageError, match="the input is empty; give a text"):
        made().read(" ")
    with pytest.raises(UsageError, match=r"data\.batch_size 65 is more than the 64 training examples"):
        made(batch_size=65)
    with pytest.raises(UsageError, match=r"data\.test 0.0 is not allowed|data\.test 0 is not allowed"):
        made(test=0.0)
    (folder / "it.txt").write_text("il cane\n", encoding="utf-8")
    with pytest.raises(UsageError, match="class 'it' has too few texts to cut one for test; give 3 or more of each"):
        made()
    for name in ("it", "fr"):
        (folder / f"{name}.txt").unlink()
    with pytest.raises(UsageError, match="all have the class 'de'"):
        made()
    with pytest.raises(UsageError, match="kind 'classification' needs words, labels, and lowercase"):
        ClassificationCodec.from_json({"kind": "classification", "lowercase": True, "unit": "bytes"})


def test_a_part_with_an_unknown_class(tmp_path):
    for part, labels in (("train", "ab" * 20), ("test", "abc")):
        lines = [json.dumps({"text": "one two", "label": label}) for label in labels]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError, match="label 'c' of split 'test' is not one of the training labels: a, b"):
        Classification(ClassificationConfig(path=str(tmp_path), batch_size=8))
    (tmp_path / "test.jsonl").unlink()
    (tmp_path / "validation.jsonl").write_text('{"text": "one", "label": "a"}', encoding="utf-8")
    task = Classification(ClassificationConfig(path=str(tmp_path), batch_size=8))
    assert list(task.splits) == ["validation"] and task.held_out == ()  # no test part is cut from a folder with parts


@needs_data
def test_the_folds_of_mr():
    rows = polarity.sentences()
    assert len(rows) == 10_662 and sum(label == "positive" for _, label in rows) == 5_331
    assert ("the action clich\u00e9s just pile up .", "negative") in rows
    tasks = [Classification(ClassificationConfig(fold=fold)) for fold in (0, 7)]
    for task in tasks:
        sizes = {name: len(labels) for name, (_, labels) in task._rows.items()}
        assert sum(sizes.values()) == 10_662 and sizes["test"] in (1066, 1068) and sizes["validation"] == 972
        assert task.held_out == ("test",) and max(map(len, task._rows["train"][0])) == 62
    texts = [{tuple(words) for words, _ in task._examples["test"]} for task in tasks]
    assert len(texts[0] & texts[1]) < 5  # the sentences that are there twice
    assert tasks[0].fingerprint() != tasks[1].fingerprint()


def test_tiny_config_is_of_this_task(tmp_path):
    assert tiny_config("classification", tmp_path).data.batch_size == 8
