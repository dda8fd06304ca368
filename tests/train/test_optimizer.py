"""Schedules, clipping, weight decay, and each rule on a quadratic."""

import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.models.examples import small
from xlstm_jax.errors import UsageError
from xlstm_jax.models import build_model
from xlstm_jax.testing.compare import assert_own_buffers
from xlstm_jax.train.optimizer import OptimizerConfig, ParameterKinds, make_optimizer, make_schedule

NAMES = typing.get_args(typing.get_type_hints(OptimizerConfig)["name"])


def apply(config, params, gradients, steps=100, kinds=None):
    """Parameters after one step."""
    optimizer, _ = make_optimizer(config, steps, kinds)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("constant", 2.0, 2.0), ("cosine", 1.1, 0.2), ("linear", 1.1, 0.2)]
)
@pytest.mark.parametrize("warmup", [0, 1, 20])
def test_schedule(schedule, middle, end, warmup):
    """A fraction of the peak from the first step on, the peak at the warm-up's end, `final_scale` of it at the end."""
    config = OptimizerConfig(learning_rate=2.0, schedule=schedule, warmup_steps=warmup, final_scale=0.1)
    rate = make_schedule(config, 100)
    if warmup:
        np.testing.assert_allclose(
            [rate(step) for step in range(warmup)], 2.0 * np.arange(1, warmup + 1) / warmup, rtol=1e-6
        )
    assert float(rate(warmup)) == pytest.approx(2.0)
    assert float(rate((100 + warmup) / 2)) == pytest.approx(middle)
    assert float(rate(100)) == pytest.approx(end)
    after = [float(rate(step)) for step in range(warmup, 101)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(after))


def test_whole_run_of_warmup():
    rate = make_schedule(OptimizerConfig(learning_rate=1.0, schedule="cosine", warmup_steps=4), 4)
    assert [float(rate(step)) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("clip, norm", [(1.0, 1.0), (0.0, 50.0), (100.0, 50.0)])
def test_clipping_is_by_the_global_norm(clip, norm):
    params, gradients = {"a": jnp.zeros(2), "b": jnp.zeros(1)}, {"a": jnp.array([30.0, 0]), "b": jnp.array([40.0])}
    after = apply(OptimizerConfig(name="sgd", learning_rate=1.0, clip_norm=clip), params, gradients)
    assert float(optax.tree.norm(after)) == pytest.approx(norm, rel=1e-5)
    assert float(after["b"][0] / after["a"][0]) == pytest.approx(4 / 3, rel=1e-5)


def test_weight_decay_pulls_matrices_and_what_says_so():
    """Whatever they are called."""

    class Model(nnx.Module):
        def __init__(self):
            self.kernel, self.basis = (nnx.Param(jnp.ones((2, 2))) for _ in range(2))
            self.scale, self.shift = nnx.Param(jnp.ones(2)), nnx.Param(jnp.ones((2, 2)), decay=False)
            self.gain = nnx.Param(jnp.ones(2), decay=True)

    state = nnx.split(Model())[1]
    params, kinds = nnx.to_pure_dict(state), ParameterKinds.of(state)
    config = OptimizerConfig(name="adamw", learning_rate=0.1, weight_decay=0.5)
    after = apply(config, params, jax.tree.map(jnp.zeros_like, params), kinds=kinds)
    for name in ("kernel", "basis", "gain"):
        np.testing.assert_allclose(after[name], 0.95, rtol=1e-6)
    assert all((after[name] == 1).all() for name in ("scale", "shift"))


def test_weight_decay_on_a_model():
    """Of the blocks' parameters all but norms, skips and biases."""
    state = nnx.split(nnx.eval_shape(lambda: build_model(small("msrw"))))[1]
    leaves = jax.tree_util.tree_leaves_with_path(ParameterKinds.of(state).decayed)
    names = {decay: {str(path[-1].key) for path, leaf in leaves if leaf == decay} for decay in (False, True)}
    mixing = {"mu", "ffn_mu_r", "ffn_mu_k", "decay", "bonus"}
    assert names[False] == {"scale", "skip", "bias", "b", *mixing}
    low_rank = {"mus", "mix_down", "mix_up", "decay_down", "decay_up"}
    assert names[True] == {"embedding", "kernel", "recurrent", "w_x", "w_h", *low_rank}


@pytest.mark.parametrize("name, momentum", [*((name, 0.0) for name in NAMES), ("sgd", 0.9), ("rmsprop", 0.9)])
def test_each_optimizer_lowers_a_quadratic(name, momentum):
    config = OptimizerConfig(name=name, learning_rate=0.05, momentum=momentum, b2=0.9)
    optimizer, _ = make_optimizer(config, 100, None)
    target = jnp.array([[1.0, -2.0], [0.5, 3.0]])

    def loss(params):
        return jnp.sum((params["w"] - target) ** 2)

    @jax.jit
    def step(loop, _):
        params, state = loop
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    start = {"w": jnp.zeros((2, 2))}
    (params, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=100)
    assert float(loss(params)) < 0.1 * float(loss(start))


@pytest.mark.parametrize("name", NAMES)
def test_own_buffers(name):
    """A fresh state and the parameters can be donated together: no two arrays share memory."""
    momentum = 0.5 if name in ("sgd", "rmsprop") else 0.0
    optimizer, _ = make_optimizer(OptimizerConfig(name, momentum=momentum, warmup_steps=2), 4, None)
    params = {"w": jnp.ones((2, 2)), "b": jnp.zeros(2)}
    assert_own_buffers((params, optimizer.init(params)))


def test_betas_are_those_of_the_config():
    """Adam's first step has size one at any decay; its second, after an opposite gradient, does not."""
    for b1, b2, wanted in ((0.9, 0.999, 0.0526), (0.5, 0.999, 1 / 3)):
        optimizer, _ = make_optimizer(
            OptimizerConfig(name="adam", learning_rate=1.0, b1=b1, b2=b2, clip_norm=0), 9, None
        )
        state, update = optimizer.init(jnp.zeros(1)), None
        for gradient in (1.0, -1.0):
            update, state = optimizer.update(jnp.array([gradient]), state, jnp.zeros(1))
        # Bias-corrected mean of (1, -1): (b1 - 1) (1 - b1) / (1 - b1^2) = -(1 - b1) / (1 + b1); the squares are 1.
        assert float(update[0]) == pytest.approx(wanted, rel=1e-2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "sgd", "weight_decay": 0.1}, r"weight_decay 0\.1 needs optimizer\.name adamw, not sgd"),
        ({"name": "adam", "weight_decay": 0.1}, r"needs optimizer\.name adamw, not adam"),
        ({"name": "adam", "momentum": 0.9}, r"momentum 0\.9 needs optimizer\.name sgd or rmsprop; that of adam is b1"),
        ({"warmup_steps": 11}, r"optimizer\.warmup_steps 11 is more than train\.steps 10"),
    ],
)
def test_combinations_that_cannot_work(config, message):
    with pytest.raises(UsageError, match=message):
        make_optimizer(OptimizerConfig(**config), 10, None)
