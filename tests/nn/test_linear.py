"""Dense and block-diagonal linear maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Headwise, linear

# Blocks smaller and larger than the tile that collects small ones; 40 and 224 do not fill whole tiles of 8 blocks.
SIZES = [(32, 4), (40, 4), (224, 4), (8, 1), (64, 16), (36, 12), (128, 64), (48, 48)]


@pytest.mark.parametrize("features, block", SIZES)
def test_headwise_is_a_block_diagonal_matrix(features, block):
    rng = np.random.default_rng(0)
    module = Headwise(features, block, nnx.initializers.zeros, dtype=jnp.float32, rngs=nnx.Rngs(0))
    kernel = rng.standard_normal((features // block, block, block)).astype(np.float32)
    dense = np.zeros((features, features))
    for n, part in enumerate(kernel):
        dense[n * block : (n + 1) * block, n * block : (n + 1) * block] = part
    x = rng.standard_normal((2, 3, features)).astype(np.float32)
    graphdef, params = nnx.split(module)

    def loss(kernel, x):
        params["kernel"] = params["kernel"].replace(kernel)
        y = nnx.merge(graphdef, params)(x)
        return jnp.sum(y * y), y

    (dkernel, dx), y = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(jnp.asarray(kernel), jnp.asarray(x))
    wanted = x @ dense
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    np.testing.assert_allclose(dx, 2 * wanted @ dense.T, atol=2e-4)
    full = 2 * np.einsum("btd,bte->de", x, wanted)
    blocks = [full[n * block : (n + 1) * block, n * block : (n + 1) * block] for n in range(features // block)]
    np.testing.assert_allclose(dkernel, blocks, rtol=1e-4, atol=2e-4)


def test_headwise_with_a_block_that_does_not_divide():
    with pytest.raises(UsageError, match="block_size 5 does not divide features 32"):
        Headwise(32, 5, nnx.initializers.zeros, dtype=jnp.float32, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("bias", [False, True])
def test_linear(bias):
    module = linear(3, 5, nnx.initializers.ones, bias=bias, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    params = nnx.to_pure_dict(nnx.split(module)[1])
    assert set(params) == ({"kernel", "bias"} if bias else {"kernel"})
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype("float32")}
    y = module(jnp.ones((2, 3), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(y, np.float32), np.full((2, 5), 3))
