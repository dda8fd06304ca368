"""What every registered task keeps. Nothing here names a task: a new one is tested through its `tiny` config."""

import functools
import itertools
import json
import math

import jax
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.step import init_state, train_step


@pytest.fixture(params=TASKS.names(), scope="module")
def run(request, tmp_path_factory, rolled):
    text = write_text(tmp_path_factory.mktemp("text") / "text.txt")
    config = tiny_config(request.param, text)
    config.model.pattern = "r"  # the task alone is at stake
    return build(config.to_dict())


@pytest.fixture(scope="module")
def state(run):
    return init_state(run)


@pytest.fixture(scope="module")
def trained(run, state):
    """States and metrics of two steps."""
    step, states, metrics = jax.jit(functools.partial(train_step, run)), [state], []
    for batch in take(run.task.train_batches(run.sections.seed), 2):
        with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
            after, values = step(states[-1], batch)
        states.append(after)
        metrics.append({name: float(value) for name, value in values.items()})
    return states, metrics


def take(iterable, count):
    return list(itertools.islice(iter(iterable), count))


def form(task, batch):
    """Structure, shapes and dtypes. Of rows with lengths, steps are left out: batches are as long as their rows."""
    any_length = getattr(batch, "lengths_B", None) is not None
    leaves, structure = jax.tree.flatten(batch)
    shapes = [
        tuple(size for size, name in zip(leaf.shape, names, strict=True) if not (any_length and name == "time"))
        for leaf, names in zip(leaves, structure.flatten_up_to(task.axes(batch)), strict=True)
    ]
    return structure, shapes, [leaf.dtype for leaf in leaves]


def same(batch, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(other), strict=True))


def test_all_batches_have_one_form(run):
    """So that a step is compiled once, for training and for either validation; other splits may have their own.

    Batches of rows with lengths may differ in their steps, by few different numbers.
    """
    first = form(run.task, take(run.task.train_batches(0), 1)[0])
    for split in run.task.splits:
        batches = [batch for c in (False, True) for batch in take(run.task.batches(split, carry=c), 100)]
        assert len(batches) > 2
        wanted = first if split in ("train", "validation") else form(run.task, batches[0])
        assert all(form(run.task, batch) == wanted for batch in batches)
        assert len({jax.tree.leaves(batch)[0].shape for batch in batches}) <= 8
        assert {leaf.shape[0] for leaf in jax.tree.leaves(batches[0])} == {run.task.config.batch_size}
        assert {leaf.dtype.name for leaf in jax.tree.leaves(batches[0])} <= {"int32", "bool", "float32"}
    assert all(form(run.task, batch) == first for batch in take(run.task.train_batches(0), 5))
    assert run.task.evaluated[0] == "validation" and set(run.task.evaluated) <= set(run.task.splits)


def test_batches_follow_the_seed_and_the_index(run):
    batches = take(run.task.train_batches(0), 6)
    assert all(map(same, batches, take(run.task.train_batches(0), 6)))
    assert not same(batches[0], take(run.task.train_batches(1), 1)[0])
    assert not same(batches[0], batches[1])
    iterator = iter(run.task.train_batches(0))
    take(iterator, 3)
    resumed = iter(run.task.train_batches(0))
    resumed.set_state(json.loads(json.dumps(iterator.get_state())))
    assert same(next(resumed), batches[3])


def test_another_instance_reads_the_same(run):
    """And a saved run's codec is used as it is; it survives being written as JSON."""
    written = json.loads(json.dumps(run.task.codec.to_json()))
    read = run.task.codec_from_json(written)
    assert read.to_json() == written and type(read) is type(run.task.codec)
    other = type(run.task)(run.task.config, run.task.codec)
    assert other.codec is run.task.codec
    assert same(take(other.train_batches(0), 1)[0], take(run.task.train_batches(0), 1)[0])
    assert other.fingerprint() == run.task.fingerprint()


def test_each_process_draws_its_rows(run):
    """Of the same batches, in training and in evaluation."""
    size = run.task.config.batch_size
    for make in (
        run.task.train_batches,
        lambda _, rows: run.task.batches("validation", carry=False, rows=rows),
    ):
        whole, parts = (
            take(make(0, rows=slice(0, size)), 2),
            [take(make(0, rows=slice(i, i + 1)), 2) for i in range(size)],
        )
        for batch, rows in zip(whole, zip(*parts, strict=True), strict=True):
            assert same(batch, jax.tree.map(lambda *leaves: np.concatenate(leaves), *rows))


def test_loss_is_at_chance_before_training(run, state, trained):
    """Of a model whose outputs are all zero, and nearly so of one that is initialised."""
    silent = state.params | {"head": jax.tree.map(np.zeros_like, state.params["head"])}
    chance, (_, metrics) = run.task.loss_at_chance, trained
    assert metrics[0]["loss"] < 2 * chance
    for split in run.task.evaluated:
        assert evaluate(run, silent, split, carry=False)["loss"] == pytest.approx(chance, rel=0.1)


def test_metrics_add_up_over_batches(run, state):
    """And every one is a finite number; those of the evaluated splits are described in one line."""
    for split in run.task.evaluated:
        batches = list(run.task.batches(split, carry=False))
        result = evaluate(run, state.params, split, carry=False)
        if hasattr(batches[0], "mask_BT"):
            assert result["tokens"] == sum(batch.mask_BT.sum() for batch in batches)
        assert run.task.best[0] in result
        assert all(math.isfinite(value) for value in result.values())
        described = run.task.describe(result, split, carry=False)
        assert split in described and "\n" not in described
    assert run.task.summary() and run.task.unit


def test_two_steps_change_every_parameter(trained):
    states, metrics = trained
    assert [int(state.step) for state in states] == [0, 1, 2]
    for before, after in itertools.pairwise(states):
        before, after = jax.device_get((before, after))
        changed = jax.tree.map(lambda a, b: bool((a != b).any()) and bool(np.isfinite(b).all()), before, after)
        stuck = [jax.tree_util.keystr(path) for path, ok in leaves_with_path(changed.params) if not ok]
        assert not stuck
    for values in metrics:
        assert set(values) == {"loss", "grad_norm", "learning_rate", "skipped"}
        assert all(math.isfinite(value) and (value > 0) == (name != "skipped") for name, value in values.items())


def leaves_with_path(tree):
    return jax.tree_util.tree_leaves_with_path(tree)
