"""Summaries: the loss and the metrics by hand, documents of one's own, predictions, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.tasks.examples import tiny_config
from xlstm_jax.data.summaries.batches import Documents, batch_of, row_of
from xlstm_jax.errors import UsageError
from xlstm_jax.models.summarizer import Lead
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.summary import Summary, SummaryConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved

pytest.importorskip("rouge_score", reason="rouge-score is not installed (pip install -e '.[tasks]')")

RECORDS = [
    {"source": ["It rains a bit.", "We show that cats sleep.", "More work is due."], "target": "Cats sleep a lot."},
    {"source": "Dogs bark. We show that birds sing.", "target": ["Birds sing.", "Some animals sing well."]},
]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    for name, times in (("train", 8), ("validation", 2), ("test", 1)):
        lines = [json.dumps(record) for record in RECORDS] * times
        (path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def task(folder):
    return Summary(SummaryConfig(path=str(folder), batch_size=4, multiple_of=4, most_words=8))


def test_rows(task):
    """The sentences with the best ROUGE-1 are taken; of a long sentence, the beginning is read."""
    (batch,) = task.batches("test")
    assert batch.words_BSW.shape == (4, 4, 8) and sorted(batch.lengths_B) == [0, 0, 2, 3]
    long = int(np.argmax(batch.lengths_B == 3))
    assert batch.taken_BS[long].tolist() == [0, 1, 0, 0] and batch.words_in_BS[long].tolist() == [5, 6, 5, 0]
    assert task.codec.decode(batch.words_BSW[long, :3]) == json.dumps(
        ["it rains a bit .", "we show that cats sleep .", "more work is due ."]
    )
    row_SF = row_of([np.arange(1, 12), np.arange(1, 3)], 8, taken=[1], number=7)
    cut = batch_of([row_SF], np.zeros(1), 4)
    assert cut.words_in_BS.tolist() == [[8, 2, 0, 0]] and cut.words_BSW[0, 0].tolist() == [*range(1, 9)]
    assert cut.number_B.tolist() == [7] and cut.taken_BS.tolist() == [[0, 1, 0, 0]] and cut.lengths_B.tolist() == [2]


def test_the_loss_by_hand(task):
    """Two of three sentences to take; a row that only fills up; scores in the padding do not matter."""
    scores_BS = np.array([[1.0, 2.0, -1.0, 9.0], [5.0, 5.0, 5.0, 5.0]], np.float32)
    taken_BS = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], np.float32)
    batch = Documents(np.ones((2, 4, 8), np.int32), None, taken_BS, None, np.array([3, 0], np.int32))

    class Table:
        def scores(self, words, words_in, lengths, key=None):
            return jnp.asarray(scores_BS)

    outcome = jax.jit(lambda batch: task.forward(Table(), batch, None, None))(batch)
    log_p = scores_BS[0, :3] - np.log(np.exp(scores_BS[0, :3]).sum())
    assert float(outcome.loss.total) == pytest.approx(-log_p[:2].mean(), rel=1e-6) and float(outcome.loss.count) == 1


def test_metrics_by_hand(task):
    """One document right, one wrong: of its two summaries the one with the best ROUGE-1 counts."""
    (batch,) = task.batches("test")
    scores_BS = np.zeros((4, 4), np.float32)
    for row, length in enumerate(batch.lengths_B):
        scores_BS[row, 1 if length == 3 else 0] = 1
    scores_BS[:, 3] = 9  # in the padding
    judged = task.judge(scores_BS, batch)
    result = metrics(task, added({}, {"loss": judged["accuracy"], **judged}))
    cats = 200 * 2 / 9  # "We show that cats sleep." and "Cats sleep a lot."
    birds = 200 * 2 / 7  # "We show that birds sing." and "Birds sing."
    rain, bark = 200 * 1 / 8, 0.0  # the first sentences
    assert result["rouge1"] == pytest.approx((cats + bark) / 2)
    assert result["oracle_rouge1"] == pytest.approx((max(cats, rain) + birds) / 2)
    assert result["lead_rouge1"] == pytest.approx((rain + bark) / 2)
    assert result["accuracy"] == 0.5 and result["documents"] == 2 and result["rouge2"] < result["rouge1"]


def test_padding_has_no_effect(folder):
    """Neither words after a sentence's end nor sentences after a document's."""
    from configs.summary import get_config

    config = get_config("bilstm,tiny")
    config.data.update({"path": str(folder), "batch_size": 4})
    config.mesh.data = 1
    parts = build(config.to_dict())
    model = parts.model(parts.new_params())
    batch = next(iter(parts.task.batches("validation")))
    inside = np.arange(batch.words_BSW.shape[2]) < batch.words_in_BS[..., None]
    spoilt = batch._replace(words_BSW=np.where(inside, batch.words_BSW, 3))
    run = jax.jit(lambda batch: (parts.task.forward(model, batch, None, None).loss, parts.task.predict(model, batch)))
    (loss, scores), (other, again) = run(batch), run(spoilt)
    assert float(loss.total) == pytest.approx(float(other.total), rel=1e-6)
    for one, two, length in zip(scores, again, batch.lengths_B, strict=True):
        np.testing.assert_allclose(one[:length], two[:length], rtol=1e-5, atol=1e-6)
    short = batch._replace(words_BSW=batch.words_BSW[:, :4], words_in_BS=batch.words_in_BS[:, :4])
    alone = jax.jit(lambda batch: parts.task.predict(model, batch))(short)
    np.testing.assert_allclose(alone[0, : batch.lengths_B[0]], scores[0, : batch.lengths_B[0]], rtol=1e-4, atol=1e-5)


def test_lead_takes_the_first():
    run = nnx.jit(lambda model, words: model.scores(words, None, None))
    scores_BS = np.asarray(run(Lead(), np.ones((2, 5, 3), np.int32)))
    assert scores_BS.shape == (2, 5) and (np.diff(scores_BS, axis=1) < 0).all()


@pytest.mark.slow
def test_the_right_sentence_is_learned(tmp_path):
    """Of simulated documents, far better than the first sentence; and asked as a text or as a list."""
    config = tiny_config("summary", tmp_path)
    config.model.pattern, config.model.embedding_std = "r", 1.0
    config.model.update({"dropout": 0.0, "head_dropout": 0.0, "token_dropout": 0.0})
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 2e-2, 60, 30
    assert train(config, tmp_path / "run") == 0
    parts, params, _ = saved.load(tmp_path / "run")
    result = evaluate(parts, params, "test")
    assert result["accuracy"] >= 0.9 and result["rouge1"] > result["lead_rouge1"] + 20
    assert result["rouge1"] == pytest.approx(result["oracle_rouge1"], abs=10)
    task = Summary(parts.task.config, parts.task.codec_from_json(json.loads(json.dumps(parts.task.codec.to_json()))))
    sentences = ["W3 w4 w5.", "We show that w6 w7 w8 w9.", "W1 w2 w2."]
    for text in (" ".join(sentences), json.dumps(sentences)):
        example = task.read(text)
        answer = task.render(predict(parts, params, task.collate([example]))[0], example)
        assert answer["summary"] == sentences[1] and [*answer["taken"]] == ["2"]
        assert sum(answer["scores"]) == pytest.approx(1) and json.loads(json.dumps(answer)) == answer


def test_refused(folder, task):
    with pytest.raises(UsageError, match="the input is empty; give a text, or a JSON list of its sentences"):
        task.read(" ")
    with pytest.raises(UsageError, match="the input has 65 sentences, and the model reads 64; give fewer"):
        task.read("So it is. " * 65)
    with pytest.raises(UsageError, match="batch_size 64 is more than the 16 training examples"):
        Summary(SummaryConfig(path=str(folder), batch_size=64))
    with pytest.raises(UsageError, match="split 'dev' is unknown; allowed: validation, test"):
        task.batches("dev")


def test_rouge_needs_its_package(folder, monkeypatch):
    import importlib

    from xlstm_jax.tasks import rouge

    def missing(name):
        raise ImportError(f"No module named {name!r}")

    rouge._scorer.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"ROUGE needs the package rouge-score .*; pip install rouge-score"):
        Summary(SummaryConfig(path=str(folder), batch_size=4))
