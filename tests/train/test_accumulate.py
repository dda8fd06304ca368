"""A batch read in parts makes the step that it makes as a whole."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import Ratio
from xlstm_jax.train.accumulate import accumulated
from xlstm_jax.train.build import build
from xlstm_jax.train.step import abstract_state, init_state, train_step

pytestmark = pytest.mark.usefixtures("rolled")


@pytest.fixture
def config(tmp_path):
    """Plain gradient descent at rate 1, so that a step's change of the parameters is the gradient."""
    config = tiny_config("language_model", write_text(tmp_path / "text.txt", words=300))
    config.model.pattern, config.model.features, config.model.dropout = "r", 8, 0.0
    config.data.sequence_length, config.data.batch_size = 9, 8
    config.optimizer.name, config.optimizer.learning_rate, config.optimizer.clip_norm = "sgd", 1.0, 0.0
    config.optimizer.schedule, config.optimizer.warmup_steps = "constant", 0
    return config


def two_steps(config, accumulate):
    with config.train.unlocked():
        config.train.accumulate = accumulate
    run = build(config.to_dict())
    step, states, losses = jax.jit(functools.partial(train_step, run)), [init_state(run)], []
    rng = np.random.default_rng(0)
    for batch in itertools.islice(iter(run.task.train_batches(0)), 2):
        if run.task.config.sampling == "packed":
            batch = batch._replace(mask_BT=rng.random(batch.mask_BT.shape) < np.linspace(0, 1, 8)[:, None])
        state, metrics = step(states[-1], batch)
        states.append(state)
        losses.append(float(metrics["loss"]))
    return states, losses


@pytest.mark.parametrize("sampling", ["packed", "stream"])
def test_parts_are_the_whole(config, sampling):
    """Losses, gradients and the carry: where rows have from none to all targets, and with a carry passed on."""
    config.data.sampling = sampling
    config.data.document_separator = " " if sampling == "packed" else ""
    wanted, losses = two_steps(config, 1)
    got, parted = two_steps(config, 4)
    assert bool(jax.tree.leaves(wanted[-1].carry)) == (sampling == "stream")
    np.testing.assert_allclose(parted, losses, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(got[-1]), jax.tree.leaves(wanted[-1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    first, last = (jax.tree.leaves(state.params) for state in (wanted[0], wanted[-1]))
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(first, last, strict=True))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_running_averages(config, accumulate):
    """Batch norm's go a tenth of the way to the mean of the parts' values, whatever optimizer, clipping and loss."""
    config.model.recurrent.norm = "batch"
    config.optimizer.name, config.optimizer.clip_norm = "adam", 1e-3
    states, _ = two_steps(config, accumulate)
    run = build(config.to_dict())
    mean, var = np.zeros(8), np.ones(8)
    for state, after, batch in zip(states, states[1:], iter(run.task.train_batches(0)), strict=False):
        x_PBTD = np.asarray(state.params["embedding"]["embedding"])[batch.tokens_BT].reshape(-1, accumulate, 9, 8)
        x_PBTD = x_PBTD.swapaxes(0, 1)
        mean = 0.9 * mean + 0.1 * x_PBTD.mean((1, 2)).mean(0)
        var = 0.9 * var + 0.1 * x_PBTD.var((1, 2)).mean(0)
        norm = after.params["blocks"][0]["norm"]
        np.testing.assert_allclose(norm["running_mean"], mean, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(norm["running_var"], var, rtol=1e-5, atol=1e-7)
    assert int(states[-1].step) == 2


def test_one_part_at_a_time(config):
    """The compiled step holds the activations of one part: an eighth of the rows, in less than half of the memory."""
    config.data.batch_size, config.model.features = 64, 32
    memory = []
    for accumulate in (1, 8):
        with config.train.unlocked():
            config.train.accumulate = accumulate
        run = build(config.to_dict())
        args = abstract_state(run), next(iter(run.task.train_batches(0)))
        program = jax.jit(functools.partial(train_step, run)).lower(*args).compile()
        memory.append(program.memory_analysis().temp_size_in_bytes)
    assert memory[1] < memory[0] / 2


def test_draws_differ_by_part_and_rows_come_back_in_order():
    """Parts that hold no target change nothing."""

    def forward(params, row_B, carry, key):
        draw, count = jax.random.uniform(key), (row_B[0] == 1).astype(jnp.float32)
        return Ratio(count * draw * params, count), (row_B + carry, jnp.full_like(row_B, draw))

    row_B, carry_B = jnp.arange(6.0), 10 * jnp.arange(6.0)
    key = jax.random.key(0)
    (loss, (sums, draw_B)), gradient = accumulated(forward, 3, jnp.float32(2), (row_B, ("batch",)), carry_B, key)
    np.testing.assert_array_equal(sums, 11 * np.arange(6.0))
    assert draw_B[0] == draw_B[3] and len({float(draw) for draw in draw_B}) == 3
    assert loss / 2 == gradient == draw_B[1]


def test_a_batch_that_cannot_be_cut(config):
    config.train.accumulate = 3
    message = r"^data\.batch_size 8 is not divisible by train\.accumulate 3; use 6 rows or another multiple$"
    with pytest.raises(UsageError, match=message):
        build(config.to_dict())
    config.train.accumulate = 16
    with pytest.raises(UsageError, match=r"use 16 rows or another multiple$"):
        build(config.to_dict())
