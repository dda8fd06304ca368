"""Translation: BLEU as sacrebleu computes it, the loss by hand, a folder of one's own, answers and their figure."""

import json

import jax
import matplotlib
import numpy as np
import pytest

from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks import bleu
from xlstm_jax.tasks.base import Ratio, added
from xlstm_jax.tasks.translation import Translation, TranslationConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "sechs": "six"}


def write(folder, rows, seed=0):
    rng, folder = np.random.default_rng(seed), folder / "data"
    folder.mkdir(exist_ok=True)
    for split, count in rows.items():
        chosen = [rng.choice(list(WORDS), rng.integers(2, 5)) for _ in range(count)]
        lines = [" ".join(words) + "\t" + " ".join(map(WORDS.get, words)) for words in chosen]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, {"train": 40, "validation": 20, "test": 10})


def test_bleu_adds_up_over_batches():
    """To sacrebleu's score of all sentences."""
    from sacrebleu.metrics import BLEU

    texts = ["the cat sat on the mat .", "a dog ran", "it rains today , again", ""]
    references = ["the cat sat on a mat .", "the dog ran away", "it rains again today", "nothing"]
    sums = added({}, {"n": bleu.counts(texts[:1], references[:1])})
    for part in (slice(1, 3), slice(3, 4), slice(4, 5)):
        sums = added(sums, {"n": bleu.counts(texts[part], references[part])})
    wanted = BLEU().corpus_score(texts, [references]).score
    assert 5 < wanted < 95 and bleu.score(sums["n"]) == pytest.approx(wanted, rel=1e-9)
    assert "tok:13a" in bleu.signature() and "version:" in bleu.signature()
    assert bleu.score(Ratio(np.zeros(5), np.zeros(5))) == 0


def made(folder, **options):
    config = tiny_config("translation", folder)
    config.data.path, config.data.unit, config.data.multiple_of, config.data.least_count = folder, "words", 8, 1
    config.model.pattern = "r"
    for key, value in options.items():
        config.model[key] = value
    return config


def test_loss_by_hand(folder):
    """Every target token and the end count once; smoothing is for training alone."""
    parts = build(made(folder, label_smoothing=0.5, dropout=0.0, head_dropout=0.0).to_dict())
    task, model = parts.task, parts.model(parts.new_params())
    batch = next(iter(task.batches("test")))
    run = jax.jit(lambda batch, key: task.forward(parts.model(parts.new_params()), batch, None, key).loss)
    loss, smoothed = run(batch, None), run(batch, jax.random.key(0))
    assert float(loss.count) == batch.lengths_B.sum()
    given = np.concatenate([np.full((8, 1), task.codec.begin), batch.target_BT[:, :-1]], axis=1).astype(np.int32)
    model = parts.model(parts.new_params())
    logits, _ = model.unroll(given, model.encode(batch.source_BS, batch.source_lengths_B), lengths=batch.lengths_B)
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    there = np.arange(batch.target_BT.shape[1]) < batch.lengths_B[:, None]
    right = np.take_along_axis(log_p, batch.target_BT[..., None], axis=2)[..., 0]
    assert float(loss.total) == pytest.approx(-right[there].sum(), rel=1e-5)
    assert float(smoothed.total) == pytest.approx(-(0.5 * right + 0.5 * log_p.mean(axis=2))[there].sum(), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["general", "none"])
def test_a_folder_of_ones_own_is_learned(tmp_path, attention):
    """And asked in the words of a user; with attention, the answer has a figure."""
    folder = write(tmp_path, {"train": 400, "validation": 20, "test": 20})
    config = made(folder, attention=attention, dropout=0.0, head_dropout=0.0, label_smoothing=0.0, features=32)
    config.data.batch_size = 20
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 1e-2, 400, 200
    assert train(config, tmp_path / "run") == 0
    (scored,) = [record for record in read_metrics(tmp_path / "run") if "test/bleu" in record]
    assert scored["test/bleu"] > 85 and scored["test/perplexity"] < 1.1
    parts, params, _ = saved.load(tmp_path / "run")
    example = parts.task.read("zwei drei eins")
    predicted = parts.task.predict(parts.model(params), parts.task.collate([example]))
    answer = parts.task.render(jax.tree.map(lambda a: np.asarray(a)[0], predicted), example)
    assert json.loads(json.dumps(answer))["target"] == "two three one"
    if attention == "none":
        assert set(answer) == {"target"}
        return
    assert np.asarray(answer["attention"]).shape == (len(answer["target_tokens"]), 3)
    axes = matplotlib.figure.Figure().subplots()
    parts.task.draw(axes, answer, example)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["zwei", "drei", "eins"]


def test_errors(folder):
    task = Translation(TranslationConfig(path=folder, unit="words", least_count=1, batch_size=4))
    with pytest.raises(UsageError, match="the input is empty; give a text"):
        task.read(" \n")
    with pytest.raises(UsageError, match="the input has 1001 tokens; give at most 1000"):
        task.read("eins " * 1001)
    with pytest.raises(UsageError, match="batch_size 41 is more than the 40 training examples"):
        Translation(TranslationConfig(path=folder, unit="words", batch_size=41))
    with pytest.raises(UsageError, match="most_tokens 1 leaves no training pair; raise it"):
        Translation(TranslationConfig(path=folder, unit="words", most_tokens=1, batch_size=4))
    assert (
        Translation(TranslationConfig(path=folder, unit="words", reverse=True, batch_size=4))
        .read("eins zwei")[::-1]
        .tolist()
        == task.read("eins zwei").tolist()
    )
