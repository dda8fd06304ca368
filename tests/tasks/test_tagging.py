"""Tagging: spans counted by hand, a folder of one's own, predictions, and what is refused."""

import json

import jax
import numpy as np
import pytest
from flax import nnx

from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.models.words import Words
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.tagging import Tagging, TaggingConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

SENTENCE = "Ada B-PER\nLovelace I-PER\nmet O\nBabbage B-PER\nin O\nLondon B-LOC\n\n"
OTHER = "London B-LOC\nis O\nwet O\n\n"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    for name in ("train", "validation", "test"):
        (path / f"{name}.conll").write_text((SENTENCE + OTHER) * (12 if name == "train" else 3), encoding="utf-8")
    return path


@pytest.fixture
def task(folder):
    return Tagging(TaggingConfig(path=str(folder), batch_size=4, multiple_of=8))


def test_metrics_by_hand(task):
    """One of two spans found, one of them of a wrong type, in a row; rows that only fill up do not count."""
    names = {name: number for number, name in enumerate(task.codec.tags.names)}
    (batch,) = [batch for batch in task.batches("test") if 0 in batch.lengths_B]
    rows = [list(tags) for tags in batch.tags_BT]
    long = int(np.argmax(batch.lengths_B == 6))
    rows[long][:6] = [names[tag] for tag in ("B-PER", "E-PER", "O", "S-LOC", "O", "O")]
    predicted = np.array(rows)
    there = int((batch.lengths_B == 6).sum()) * 3 + int((batch.lengths_B == 3).sum())
    result = metrics(task, added({}, {"loss": task.judge(predicted, batch)["f1"], **task.judge(predicted, batch)}))
    right, found = there - 2, there - 1
    assert result["precision"] == right / found and result["recall"] == right / there
    assert result["f1"] == pytest.approx(2 * right / (found + there))
    assert result["accuracy"] == pytest.approx(1 - 2 / batch.lengths_B.sum())
    nothing = metrics(task, added({}, {"loss": task.judge(predicted, batch)["f1"], **task.judge(predicted * 0, batch)}))
    assert nothing["precision"] == nothing["f1"] == nothing["recall"] == 0


@pytest.mark.parametrize("model", ["words", "softmax", ""])
def test_padding_has_no_effect(folder, tmp_path, model):
    """On emissions and on the loss, of words and of letters."""
    from configs.ner import get_config

    config = get_config(f"tiny,{model}".strip(","))
    config.data.path, config.mesh.data = str(folder), 1
    parts = build(config.to_dict())
    model = parts.model(parts.new_params())
    batch = next(iter(parts.task.batches("validation")))
    spoilt = batch._replace(
        tokens_BT=np.where(np.arange(batch.tokens_BT.shape[1]) < batch.lengths_B[:, None], batch.tokens_BT, 1),
        letters_BTL=np.where((batch.tokens_BT > 0)[..., None], batch.letters_BTL, 3),
    )

    @jax.jit
    def run(batch):
        loss = parts.task.forward(model, batch, None, None).loss
        return loss, parts.task.predict(model, batch)

    (loss, tags), (other, same) = run(batch), run(spoilt)
    assert float(loss.total) == pytest.approx(float(other.total), rel=1e-6)
    np.testing.assert_array_equal(tags, same)


@pytest.mark.slow
def test_a_folder_of_ones_own_is_learned(folder, tmp_path):
    """And asked in the words of a user, as text or as a list of words."""
    config = tiny_config("tagging", tmp_path)
    config.data.path, config.model.pattern = str(folder), "r"
    config.model.update({"dropout": 0.0, "head_dropout": 0.0, "token_dropout": 0.0})
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 3e-2, 20, 10
    assert train(config, tmp_path / "run") == 0
    (scored,) = [record for record in read_metrics(tmp_path / "run") if "test/f1" in record]
    assert scored["test/f1"] == scored["test/accuracy"] == 1
    parts, params, _ = saved.load(tmp_path / "run")
    for text in ("Ada Lovelace met Babbage in London", '["Ada", "Lovelace", "met", "Babbage", "in", "London"]'):
        example = parts.task.read(text)
        predicted = parts.task.predict(parts.model(params), parts.task.collate([example]))
        answer = parts.task.render(np.asarray(predicted)[0], example)
        assert json.loads(json.dumps(answer))["spans"] == [
            {"type": "PER", "text": "Ada Lovelace"},
            {"type": "PER", "text": "Babbage"},
            {"type": "LOC", "text": "London"},
        ]


def test_letters_tell_unknown_words_apart(folder):
    from configs.ner import get_config

    config = get_config("tiny")
    config.data.path, config.mesh.data = str(folder), 1
    parts = build(config.to_dict())
    model = parts.model(parts.new_params())
    batch = parts.task.collate([parts.task.read("Adb"), parts.task.read("Adx")])
    assert batch.tokens_BT[0, 0] == batch.tokens_BT[1, 0] == 1
    run = nnx.jit(lambda model, *words: model.emissions(Words(*words)))
    emissions = run(model, batch.tokens_BT, batch.letters_BTL, batch.spelling_BTF)
    assert np.any(emissions[0, 0] != emissions[1, 0])


def test_errors(folder, task):
    with pytest.raises(UsageError, match="the input is empty; give a sentence"):
        task.read("  ")
    with pytest.raises(UsageError, match="has 1001 words; give at most 1000"):
        task.read("a " * 1001)
    with pytest.raises(UsageError, match="split 'dev' is unknown; allowed: validation, test"):
        task.batches("dev")
    with pytest.raises(UsageError, match="batch_size 64 is more than the 24 training examples"):
        Tagging(TaggingConfig(path=str(folder), batch_size=64))
    (folder / "test.conll").write_text("Ada B-NAME\n", encoding="utf-8")
    with pytest.raises(UsageError, match="type 'NAME' in split 'test' is not one of the training data's: LOC, PER"):
        Tagging(TaggingConfig(path=str(folder), batch_size=4))
