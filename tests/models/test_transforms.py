"""Whole models inside a caller's `jax.shard_map`, and their derivatives in both modes and of second order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import FEATURES, example, random_params, reads_numbers, small
from tests.transforms import FAST, Case, check, rows
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, Stack
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig
from xlstm_jax.testing.compare import assert_close, normal_like

TIME = 5

pytestmark = pytest.mark.usefixtures("rolled")


@pytest.fixture(autouse=True)
def wide():
    """float64, which flax's norms support only under standard promotion."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def made(pattern, **changes):
    """run(x, params) -> logits of a float64 model that reads real numbers; and its parameters."""
    config = small(pattern, dtype="float64", **changes)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: reads_numbers(config)))
    params = random_params(nnx.to_pure_dict(state))
    params = jax.tree.map(lambda leaf: 0.5 * jnp.asarray(leaf, jnp.float64), params)
    return lambda x, params: nnx.merge(graphdef, params).unroll(x)[0], params


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_block(letter):
    """Other tests compare the values of its parts."""
    run, params = made(letter)
    check(Case(run, rows(0, (TIME, FEATURES)), (params,)), values=False)


def test_hessian_vector_product_by_one_option():
    """For all parameters, through a scan over rematerialised blocks, against differences of the gradient."""
    options = {"scan_layers": True, "remat": "full"}
    (run, params), (by_hand, _) = made("rr", forward_mode=True, **options), made("rr", **options)
    (x,), along = rows(0, (TIME, FEATURES)), normal_like(params, 1)

    def gradient(run, params):
        return jax.grad(lambda params: jnp.mean(jnp.square(run(x, params))))(params)

    def product(params, along):
        return jax.jvp(functools.partial(gradient, run), (params,), (along,))[1]

    def difference(params, along, step=1e-6):
        ahead, behind = (jax.tree.map(lambda p, d, by=by: p + by * d, params, along) for by in (step, -step))
        gradients = jax.lax.map(functools.partial(gradient, by_hand), stacked(ahead, behind))
        return jax.tree.map(lambda g: (g[0] - g[1]) / (2 * step), gradients)

    got, wanted = (jax.jit(run).lower(params, along).compile(FAST)(params, along) for run in (product, difference))
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(wanted))
    assert_close(got, wanted, 1e-6)


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def test_without_the_option_the_error_names_it():
    run, params = made("s")
    (x,) = rows(0, (TIME, FEATURES))
    with pytest.raises(UsageError, match=r"config\.model\.forward_mode=True"):
        jax.jit(lambda params: jax.jvp(functools.partial(run, x), (params,), (params,))).lower(params)


def test_a_stack_that_reads_both_ways_takes_the_option():
    x = jnp.zeros((1, TIME, FEATURES), jnp.float32)

    def pushed(config):
        graphdef, params = nnx.split(nnx.eval_shape(lambda: Stack(config, "both", rngs=nnx.Rngs(0))))
        run = lambda params, x: jax.jvp(lambda x: nnx.merge(graphdef, params)(x)[0], (x,), (x,))  # noqa: E731
        return jax.jit(run).lower(params, x)

    pushed(small("s", forward_mode=True))
    with pytest.raises(UsageError, match="forward_mode"):
        pushed(small("s"))


def test_batch_norm_in_training_is_refused():
    """The gradients of its running averages are their updates, not derivatives of the loss."""
    config = small("r", forward_mode=True, recurrent=RecurrentBlockConfig(norm="batch"))
    built, tokens = example(config), np.zeros((2, TIME), np.int32)
    with pytest.raises(UsageError, match="forward_mode does not cover batch norm in training"):
        built.model().unroll(tokens, key=jax.random.key(0))
    jax.jit(lambda p: jax.jvp(lambda p: built.model(p).unroll(tokens)[0], (p,), (p,))).lower(built.params)
