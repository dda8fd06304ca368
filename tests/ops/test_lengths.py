"""In all ops, lengths above T count as T and negative ones as 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.meshes import mesh
from xlstm_jax.cells import CELLS
from xlstm_jax.ops.attention import attention, empty_cache
from xlstm_jax.ops.conv import causal_conv
from xlstm_jax.ops.linear_attention import gated_linear_attention
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.ops.rwkv import rwkv6
from xlstm_jax.ops.slstm import slstm

pytestmark = pytest.mark.usefixtures("rolled")

B, T, H, K = 4, 6, 2, 4
OUTSIDE, INSIDE = np.array([T + 5, 3, -2, np.iinfo(np.int32).max], np.int32), np.array([T, 3, 0, T], np.int32)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def conv(reset_BT=None, lengths_B=None):
    x, kernel, carry = normal(B, T, K), normal(3, K, seed=1), normal(B, 2, K, seed=2)
    return causal_conv(x, kernel, kernel[0], carry_BWD=carry, reset_BT=reset_BT, lengths_B=lengths_B)


def cell(name, **masks):
    of = CELLS.get(name)
    return recurrence(of, of.init(jax.random.key(0), of.Config(K, K)), normal(B, T, K), **masks)


def with_cache(**masks):
    filled = empty_cache(B, 3, H, K, jnp.float32)._replace(
        k=normal(B, 2, H, K), v=normal(B, 2, H, K), count=jnp.full((B,), 2, jnp.int32)
    )
    return attention(*heads(3), window=3, cache=filled, **masks)


def heads(count):
    return tuple(normal(B, T, H, K, seed=seed) for seed in range(count))


OPS = {
    "causal_conv": conv,
    "attention": lambda **masks: attention(*heads(3), window=3, **masks),
    "attention with a cache": with_cache,
    "mlstm": lambda **masks: mlstm(*heads(3), normal(B, T, H), normal(B, T, H), **masks),
    "slstm": lambda **masks: slstm(normal(B, T, 4, H, K), normal(4, H, K, K), **masks),
    "gated_linear_attention": lambda **masks: gated_linear_attention(*heads(3), -(normal(B, T, H) ** 2), **masks),
    "rwkv6": lambda **masks: rwkv6(*heads(3), -(heads(1)[0] ** 2), normal(H, K), **masks),
    "recurrence of mingru": functools.partial(cell, "mingru"),
}
RESET = np.random.default_rng(1).random((B, T)) < 0.3


def assert_taken_inside(op):
    run = jax.jit(lambda lengths, reset: op(lengths_B=lengths, reset_BT=reset))
    got, wanted = (run(lengths, RESET) for lengths in (OUTSIDE, INSIDE))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert not np.isnan(a).any()
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPS)
def test_lengths_outside(name):
    assert_taken_inside(OPS[name])


def test_lengths_outside_of_a_sequence_over_devices():
    with jax.set_mesh(mesh(context=3)):
        assert_taken_inside(conv)
