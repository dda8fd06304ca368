"""A step whose loss or gradient is not finite changes nothing and is counted; too many in a row end the run."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import mean
from xlstm_jax.train.build import build
from xlstm_jax.train.loop import train
from xlstm_jax.train.optimizer import OptimizerConfig, make_optimizer, updates_made
from xlstm_jax.train.step import TrainState, init_state, train_step
from xlstm_jax.train.workdir.metrics import read_metrics

pytestmark = pytest.mark.usefixtures("rolled")


@pytest.fixture
def config(tmp_path):
    """State passed on, moments and a schedule that falls: all that a bad step could spoil."""
    config = tiny_config("language_model", write_text(tmp_path / "text.txt", words=60))
    config.model.pattern, config.model.recurrent.cell, config.model.features = "r", "lstm", 8
    config.data.sampling, config.data.sequence_length, config.data.batch_size = "stream", 8, 4
    config.optimizer.schedule, config.optimizer.weight_decay = "cosine", 0.1
    config.train.steps, config.train.log_every, config.train.eval_every = 40, 1, 40
    config.sample.length = 0
    return config


def batches(run, count):
    return list(itertools.islice(iter(run.task.train_batches(0)), count))


def assert_same(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_a_bad_step_changes_nothing(config):
    """The good step that follows is what it would have been without the bad one."""
    run = build(config.to_dict())
    step = jax.jit(functools.partial(train_step, run))
    first, second, third = batches(run, 3)
    good, _ = step(init_state(run), first)
    bad = good._replace(params=jax.tree.map(lambda leaf: leaf * jnp.inf, good.params))

    after, metrics = step(bad, second)
    assert not np.isfinite(metrics["grad_norm"]) and not np.isfinite(metrics["loss"])
    assert_same(after, bad._replace(step=good.step + 1))
    assert int(metrics["skipped"]) == 1

    got, metrics = step(after._replace(params=good.params), third)
    wanted, without = step(good, third)
    assert_same(got._replace(step=wanted.step), wanted)
    assert int(metrics["skipped"]) == 1 and int(without["skipped"]) == 0
    assert metrics["learning_rate"] == without["learning_rate"]
    assert updates_made(got.opt_state) == 2 and int(got.step) == 3


@pytest.mark.parametrize("pattern", ["r", pytest.param("ms", marks=pytest.mark.slow)])
def test_good_steps_are_those_without_the_guard(config, pattern):
    """To the last bit."""
    config.model.pattern, config.model.features, config.model.dropout = pattern, 16, 0.1
    run = build(config.to_dict())

    def plain(state, batch):
        key = jax.random.fold_in(jax.random.key(run.sections.seed), state.step)

        def loss_fn(params):
            outcome = run.task.forward(run.model(params), batch, state.carry, key)
            return mean(outcome.loss), outcome.carry

        (_, carry), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = run.optimizer.update(grads, state.opt_state, state.params)
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state, carry)

    got = wanted = init_state(run)
    step, plain = jax.jit(functools.partial(train_step, run)), jax.jit(plain)
    for batch in batches(run, 5):
        got, metrics = step(got, batch)
        wanted = plain(wanted, batch)
        assert int(metrics["skipped"]) == 0
    assert_same(got, wanted)


@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_updates_are_counted_in_every_rule(name, clip_norm):
    optimizer, _ = make_optimizer(OptimizerConfig(name=name, clip_norm=clip_norm), 10, None)
    params = {"kernel": jnp.ones((2, 2))}
    state = optimizer.init(params)
    for count in range(3):
        assert updates_made(state) == count
        _, state = optimizer.update(params, state, params)


@pytest.mark.parametrize("most", [0, 3])
def test_too_many_in_a_row_end_the_run(config, tmp_path, capsys, most):
    """A rate so large that the second step's products overflow, and those of all after it."""
    config.optimizer.name, config.optimizer.weight_decay = "sgd", 0.0
    config.optimizer.schedule, config.optimizer.learning_rate, config.optimizer.clip_norm = "constant", 1e30, 0.0
    config.train.max_skipped = most
    after = f", after {most} more skipped in a row" if most else ""
    message = (
        rf"^loss \S+ with gradient norm \S+ is not finite at step {2 + most}{after}; no checkpoint was saved .*rate"
    )
    with pytest.raises(UsageError, match=message) as caught:
        train(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    shown = re.findall(
        r"step (\d+) skipped: loss \S+ with gradient norm \S+ \((\d+) skipped so far\)", capsys.readouterr().out
    )
    assert shown == [(str(2 + number), str(1 + number)) for number in range(most)]
    records = [record for record in read_metrics(tmp_path / "run") if "train/skipped" in record]
    assert [(record["step"], record["train/skipped"]) for record in records] == [(1 + n, n) for n in range(most + 1)]
    assert ["train/loss" in record for record in records] == [True] + [False] * most


@pytest.mark.slow
def test_the_count_survives_a_resume(config, tmp_path, monkeypatch):
    """Some steps are bad, by a loss that overflows in them; a run cut in two counts them as the whole does."""
    step = train_step

    def sometimes(parts, state, batch):
        spoilt = jax.tree.map(lambda leaf: jnp.where(state.step % 3 == 1, jnp.inf, leaf), state.params)
        after, metrics = step(parts, state._replace(params=spoilt), batch)
        kept = jax.tree.map(lambda new, old: jnp.where(state.step % 3 == 1, old, new), after.params, state.params)
        return after._replace(params=kept), metrics

    monkeypatch.setattr("xlstm_jax.train.step.train_step", sometimes)
    config.optimizer.schedule = "constant"  # a decaying one stretches with the steps
    config.train.max_skipped, config.train.eval_every = 1, 5
    for workdir, all_steps in (("whole", [8]), ("parts", [5, 8])):
        for config.train.steps in all_steps:
            assert train(config, tmp_path / workdir) == 0
    whole, parts = (
        {
            record["step"]: record["train/skipped"]
            for record in read_metrics(tmp_path / workdir)
            if "train/skipped" in record
        }
        for workdir in ("whole", "parts")
    )
    assert whole == parts == {step: (step + 1) // 3 for step in range(1, 9)}
