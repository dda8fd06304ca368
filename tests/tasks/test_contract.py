"""What every registered task keeps. Nothing here names a task: a new one is tested through its `tiny` config."""

import itertools
import json
import math

import jax
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.run import Run


@pytest.fixture(params=TASKS.names(), scope="module")
def run(request, tmp_path_factory, rolled):
    text = write_text(tmp_path_factory.mktemp("text") / "text.txt")
    return Run(tiny_config(request.param, text).to_dict())


@pytest.fixture(scope="module")
def state(run):
    return run.init()


@pytest.fixture(scope="module")
def trained(run, state):
    """States and metrics of two steps."""
    step, states, metrics = jax.jit(run.train_step), [state], []
    for batch in take(run.task.train_dataset(run.seed), 2):
        with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
            after, values = step(states[-1], batch)
        states.append(after)
        metrics.append({name: float(value) for name, value in values.items()})
    return states, metrics


def take(iterable, count):
    return list(itertools.islice(iter(iterable), count))


def form(batch):
    return jax.tree.structure(batch), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(batch)]


def same(batch, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(other), strict=True))


def test_all_batches_have_one_form(run):
    """So that a step is compiled once, for training and for either evaluation, whatever the split's size."""
    datasets = [run.task.train_dataset(0)]
    datasets += [run.task.evaluation_dataset(split, carry=c) for split in run.task.splits for c in (False, True)]
    batches = [batch for dataset in datasets for batch in take(dataset, 100)]
    assert len(batches) > 100
    first = form(batches[0])
    assert all(form(batch) == first for batch in batches)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(batches[0])} == {run.task.config.batch_size}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(batches[0])} <= {"int32", "bool", "float32"}


def test_batches_follow_the_seed_and_the_index(run):
    batches = take(run.task.train_dataset(0), 6)
    assert all(map(same, batches, take(run.task.train_dataset(0), 6)))
    assert not same(batches[0], take(run.task.train_dataset(1), 1)[0])
    assert not same(batches[0], batches[1])
    iterator = iter(run.task.train_dataset(0))
    take(iterator, 3)
    resumed = iter(run.task.train_dataset(0))
    resumed.set_state(json.loads(json.dumps(iterator.get_state())))
    assert same(next(resumed), batches[3])


def test_another_instance_reads_the_same(run):
    """And a saved run's tokenizer is used as it is."""
    other = type(run.task)(run.task.config, run.task.tokenizer)
    assert other.tokenizer is run.task.tokenizer
    assert same(take(other.train_dataset(0), 1)[0], take(run.task.train_dataset(0), 1)[0])
    assert other.fingerprint() == run.task.fingerprint()


def test_evaluation_counts_every_target_once(run):
    """In either order: the tokens of a split are the same many, and all but the first are targets."""
    for split, tokens in run.task.splits.items():
        for carry in (False, True):
            batches = list(run.task.evaluation_dataset(split, carry=carry))
            targets = np.concatenate([batch.targets_BT[batch.mask_BT] for batch in batches])
            np.testing.assert_array_equal(np.sort(targets), np.sort(tokens[1:]))


def test_loss_is_at_chance_before_training(run, state):
    batch = take(run.task.train_dataset(0), 1)[0]

    def loss(params):
        return run.task.loss(run.model(params), batch, None, jax.random.key(0))[0]

    chance = math.log(run.task.model_fields()["vocab_size"])
    assert float(jax.jit(loss)(state.params)) == pytest.approx(chance, rel=0.1)
    result = run.evaluate(state.params, "validation", carry=False)
    assert result["loss"] == pytest.approx(chance, rel=0.1)


def test_two_steps_change_every_parameter(trained):
    states, metrics = trained
    assert [int(state.step) for state in states] == [0, 1, 2]
    for before, after in itertools.pairwise(states):
        changed = jax.tree.map(lambda a, b: bool((a != b).any()) and bool(np.isfinite(b).all()), before, after)
        stuck = [jax.tree_util.keystr(path) for path, ok in leaves_with_path(changed.params) if not ok]
        assert not stuck
    for values in metrics:
        assert set(values) == {"loss", "grad_norm", "learning_rate", "skipped"}
        assert all(math.isfinite(value) and (value > 0) == (name != "skipped") for name, value in values.items())


def leaves_with_path(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


def test_carry_changes_the_result_a_little(run, trained):
    """More context before each window, the same targets."""
    params = trained[0][-1].params
    alone, carried = (run.evaluate(params, "validation", carry=carry) for carry in (False, True))
    assert alone["tokens"] == carried["tokens"] == len(run.task.splits["validation"]) - 1
    assert alone["loss"] != carried["loss"]
    assert carried["loss"] == pytest.approx(alone["loss"], rel=0.05)
    assert "loss" in alone and all(math.isfinite(value) for value in (*alone.values(), *carried.values()))
