"""Training that begins with another run's parameters."""

import shutil

import jax
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved


def config(steps=2, task="adding", **model):
    made = tiny_config(task, None)
    made.model.pattern, made.model.features = "r", 8
    made.model.update(model)
    made.train.steps = made.train.eval_every = steps
    made.train.log_every = 1
    if task == "adding":
        made.data.sequence_length, made.data.long_length, made.data.evaluation_batches = 12, 0, 1
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "run"
    with jax.numpy_dtype_promotion("standard"):
        assert train(config(), folder) == 0
    return folder


def distance(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


def test_training_begins_with_the_best_parameters(source, tmp_path):
    """With tiny steps it stays there; the optimiser and the schedule begin anew, and the source may then go."""
    copy = tmp_path / "source"
    shutil.copytree(source, copy)
    other = config(1)
    other.seed, other.optimizer.learning_rate = 7, 1e-6
    other.train.init_from = str(copy)
    assert train(other, tmp_path / "run") == 0
    _, wanted, _ = saved.load(source)
    _, found, step = saved.load(tmp_path / "run")
    assert step == 1 and 0 < distance(found, wanted) < 1e-4
    shutil.rmtree(copy)
    other.train.steps = 2
    assert train(other, tmp_path / "run") == 0  # resumed from its own checkpoint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": 12}, r"does not fit: params/.* is \(.*\), but the config needs"),
        ({"task": "timing"}, "holds a run of another task, adding"),
        ({"source": "nothing"}, "holds no run"),
    ],
)
def test_sources_that_do_not_fit(source, tmp_path, changes, message):
    given = dict(changes)
    where = str(tmp_path / given.pop("source")) if "source" in given else str(source)
    other = config(**given)
    other.train.init_from = where
    with pytest.raises(UsageError, match=message) as caught:
        train(other, tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_another_vocabulary(tmp_path):
    """Characters of another text are other tokens, even if there are as many."""
    texts = [write_text(tmp_path / f"{name}.txt", 400) for name in "ab"]
    texts[1].write_text(texts[1].read_text().replace("w", "z"))
    runs = []
    for text in texts:
        made = tiny_config("language_model", text)
        made.model.pattern, made.model.features, made.data.tokenizer = "r", 8, "char"
        made.train.steps = made.train.eval_every = 1
        runs.append(made)
    assert train(runs[0], tmp_path / "run") == 0
    runs[1].train.init_from = str(tmp_path / "run")
    with pytest.raises(UsageError, match="reads its data by another codec, such as another vocabulary"):
        train(runs[1], tmp_path / "other")
