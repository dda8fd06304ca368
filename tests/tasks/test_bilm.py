"""A bidirectional language model, and a tagger and a classifier that read its states."""

import json
import math
import shutil

import jax
import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.data import brown
from xlstm_jax.data.words import Lexicon
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.bilm import BiLanguageModeling, BiLMDataConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state
from xlstm_jax.train.workdir import saved

SENTENCE = "the B-X\ncat I-X\nsat O\non O\na B-Y\nmat I-Y\n\n"
OTHER = "two B-X\nbig I-X\ndogs I-X\nrun O\n\n"


def quick(config):
    config.model.pattern, config.model.features = "r", 8
    config.train.steps = config.train.eval_every = 2
    return config


@pytest.fixture(scope="module")
def bilm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bilm")
    config = quick(tiny_config("bilm", write_text(folder / "text.txt")))
    config.model.pattern = "rr"
    with jax.numpy_dtype_promotion("standard"):
        assert train(config, folder / "run") == 0
    return folder / "run"


@pytest.fixture
def tagging(bilm, tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    for name in ("train", "validation", "test"):
        (path / f"{name}.conll").write_text((SENTENCE + OTHER) * 8, encoding="utf-8")
    config = quick(tiny_config("tagging", None))
    config.data.path, config.data.bilm = str(path), str(bilm)
    return config


def sentiment(bilm, tmp_path):
    path = tmp_path / "data"
    path.mkdir(exist_ok=True)
    for name in ("train", "validation"):
        lines = [json.dumps({"text": f"the {word} sat", "label": word}) for word in ("cat", "dogs")] * 8
        (path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = quick(tiny_config("sentiment", None))
    config.data.path, config.data.bilm = str(path), str(bilm)
    return config


def answers(run, texts):
    parts, params, _ = saved.load(run)
    examples = [parts.task.read(text) for text in texts]
    found = predict(parts, params, parts.task.collate(examples))
    return [
        parts.task.render(jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[n], found), example)
        for n, example in enumerate(examples)
    ]


def test_a_sentence_is_scored(bilm):
    """Both perplexities are those of the words and an end, and a list of words is taken as it is."""
    text, words = "the cat sat on a mat", '["the", "cat", "sat", "on", "a", "mat"]'
    one, two = answers(bilm, [text, words])
    assert one == two and json.loads(json.dumps(one)) == one
    assert one["words"] == text.split() and len(one["forward"]) == len(one["backward"]) == 6
    assert all(0 < share < 1 for name in ("forward", "backward") for share in one[name])
    assert one["forward_perplexity"] > 1


def test_metrics_are_those_of_the_sums(bilm):
    parts, params, _ = saved.load(bilm)
    result = evaluate(parts, params, "validation")
    assert result["loss"] == pytest.approx((result["forward_loss"] + result["backward_loss"]) / 2, rel=1e-5)
    for prefix in ("", "forward_", "backward_"):
        assert result[f"{prefix}perplexity"] == pytest.approx(math.exp(result[f"{prefix}loss"]), rel=1e-4)
    nats = count = 0
    for batch in parts.task.batches("validation"):
        for nats_B, length in zip(np.asarray(predict(parts, params, batch)), batch.lengths_B, strict=True):
            nats, count = nats + nats_B[: length + 1].sum(), count + (length + 1 if length else 0)
    assert nats / count / 2 == pytest.approx(result["loss"], rel=1e-4)


def test_a_tagger_keeps_what_it_read(bilm, tagging, tmp_path):
    """The weights stay as they were, and the run's folder is enough to evaluate, to ask and to train on."""
    lender = tmp_path / "lender"
    shutil.copytree(bilm, lender)
    tagging.data.bilm = str(lender)
    assert train(tagging, tmp_path / "run") == 0
    _, wanted, _ = saved.load(lender)
    shutil.rmtree(lender)
    parts, params, step = saved.load(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, params["embedding"]["bilm"], wanted["reader"])
    assert step == 2 and math.isfinite(evaluate(parts, params, "test")["loss"])
    (answer,) = answers(tmp_path / "run", ["the cat sat"])
    assert answer["words"] == ["the", "cat", "sat"]
    tagging.train.steps = 4
    assert train(tagging, tmp_path / "run") == 0
    _, after, step = saved.load(tmp_path / "run", "latest")
    assert step == 4
    jax.tree.map(np.testing.assert_array_equal, after["embedding"]["bilm"], wanted["reader"])
    for name in ("scores_J", "gamma"):
        assert np.any(after["embedding"][name] != params["embedding"][name])


def test_the_optimizer_keeps_nothing_of_it(tagging):
    parts = build(tagging.to_dict())
    state = init_state(parts)
    with_it = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    frozen = sum(leaf.size for leaf in jax.tree.leaves(state.params["embedding"]["bilm"]))
    moments = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim or leaf.dtype == np.float32)
    assert frozen and moments == 2 * (with_it - frozen)


def test_a_classifier_reads_it_too(bilm, tmp_path):
    config = sentiment(bilm, tmp_path)
    assert train(config, tmp_path / "run") == 0
    (answer,) = answers(tmp_path / "run", ["the cat sat"])
    assert answer["label"] in ("cat", "dogs")
    config.model.kind = "majority"
    with pytest.raises(UsageError, match=r"model.kind 'majority' reads no biLM; leave data.bilm empty"):
        build(config.to_dict())


def test_folders_that_cannot_be(bilm, tagging, tmp_path):
    tagging.data.bilm = str(tmp_path)
    with pytest.raises(
        UsageError, match=r"data.bilm '.*' holds no run \(no config.json\); give the workdir of a run of"
    ):
        build(tagging.to_dict())
    other = quick(tiny_config("adding", None))
    other.data.sequence_length, other.data.long_length, other.data.evaluation_batches = 12, 0, 1
    assert train(other, tmp_path / "adding") == 0
    tagging.data.bilm = str(tmp_path / "adding")
    with pytest.raises(UsageError, match=r"data.bilm '.*' holds a run of another task, adding; give one of task bilm"):
        build(tagging.to_dict())
    tagging.data.bilm, tagging.model.kind = str(bilm), "words"
    with pytest.raises(UsageError, match=r"model.kind 'words' reads no biLM; leave data.bilm empty"):
        build(tagging.to_dict())


def test_ones_own_text(tmp_path):
    for name, text in {"b.txt": "It isn't.\n\n", "a.txt": "Two dogs run by it\n", "c.md": "no\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert brown.own(str(tmp_path)) == [["Two", "dogs", "run", "by", "it"], ["It", "is", "n't", "."]]
    with pytest.raises(UsageError, match=r"no sentence has at most data.longest 3 words; raise it"):
        BiLanguageModeling(BiLMDataConfig(path=str(tmp_path), longest=3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no .txt file; give a file or a folder of them"):
        brown.own(str(tmp_path / "empty"))


def test_lexicon():
    lexicon = Lexicon.of([["The", "cat", "12"], ["the", "Dog"]], least=2)
    again = Lexicon.from_json(json.loads(json.dumps(lexicon.to_json())))
    words = ["THE", "99", "cat", "a" * 30]
    np.testing.assert_array_equal(again.encode(words), lexicon.encode(words))
    assert lexicon.encode(words)[:, 0].tolist() == [2, 1, 1, 1] and lexicon.encode([]).shape[0] == 0
    assert json.loads(lexicon.decode(lexicon.encode(["The", "cat"]))) == ["The", "cat"]
    with pytest.raises(UsageError, match=r"the codec is damaged; kind 'lexicon' needs words and letters"):
        Lexicon.from_json({"kind": "tagging"})


@needs_mirror("nltk/brown.zip")
def test_the_brown_corpus():
    """57,340 sentences, as the Natural Language Toolkit counts them; its words lack tags, and clitics are apart."""
    sentences = brown.brown()
    assert len(sentences) == 57_340
    first = "The Fulton County Grand Jury said Friday an investigation of Atlanta 's"
    assert " ".join(sentences[0][:12]) == first
    assert all(word for words in sentences for word in words)
