"""The causal convolution layer: initialisation, carry and dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.nn import CausalConv

FEATURES = 6


def made(width, dtype=jnp.float32):
    return CausalConv(FEATURES, width, dtype=dtype, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("width", [1, 4])
def test_values_and_carry(width):
    """Two calls with the carry passed on equal an explicit sum over taps."""
    module, x = made(width), np.random.default_rng(0).standard_normal((2, 7, FEATURES)).astype(np.float32)
    kernel, bias = np.asarray(module.kernel[...]), np.asarray(module.bias[...])
    wanted = np.zeros_like(x) + bias
    for t in range(7):
        for back in range(min(width, t + 1)):
            wanted[:, t] += kernel[width - 1 - back] * x[:, t - back]
    first, carry = module(jnp.asarray(x[:, :2]), module.init_carry(2))
    second, carry = module(jnp.asarray(x[:, 2:]), carry)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), wanted, atol=1e-6)
    np.testing.assert_array_equal(carry, x[:, 7 - (width - 1) :])


def test_start_is_uniform_in_one_over_root_width():
    module = CausalConv(400, 4, dtype=jnp.float32, rngs=nnx.Rngs(0))
    for leaf in (module.kernel[...], module.bias[...]):
        assert float(jnp.abs(leaf).max()) <= 0.5
        assert float(leaf.std()) == pytest.approx(1 / np.sqrt(12), rel=0.1)


def test_bfloat16():
    module = made(4, jnp.bfloat16)
    y, carry = module(jnp.ones((1, 3, FEATURES)), module.init_carry(1))
    assert y.dtype == carry.dtype == module.init_carry(1).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.split(module)[1])} == {jnp.dtype("float32")}
