"""Small layers as (graphdef, parameters), their inputs, and comparisons of trees and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.nn import Recurrent

BATCH, TIME, IN, FEATURES = 2, 8, 3, 8
X = np.random.default_rng(0).standard_normal((BATCH, TIME, IN)).astype(np.float32)
LENGTHS = np.array([8, 5])
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, 3] = True


def made(cell, in_features=IN, features=FEATURES, **options):
    """(graphdef, parameters), with random parameters even if they are initialised to zero."""
    module = nnx.eval_shape(lambda: Recurrent(cell, in_features, features, rngs=nnx.Rngs(0), **options))
    graphdef, state = nnx.split(module)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape), leaf.dtype), nnx.to_pure_dict(state)
    )
    return graphdef, params


def called(graphdef):
    """A compiled function run(params, *arguments of the call)."""
    return jax.jit(lambda params, *args, **kwargs: nnx.merge(graphdef, params)(*args, **kwargs))


def assert_gradient(loss, point):
    """Compares the float64 gradient of a scalar function with central differences along one direction of all leaves."""
    rng, loss = np.random.default_rng(2), jax.jit(loss)
    along = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), point)
    grads = jax.grad(loss)(point)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(grads))
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, grads, along)))
    ahead, behind = (loss(jax.tree.map(lambda leaf, d, h=h: leaf + h * d, point, along)) for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-6)


def close(got, wanted, atol=1e-5):
    """Asserts that trees have equal structure and arrays equal up to `atol`."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), got, wanted)


def differ(one, other) -> bool:
    """Whether any element of two arrays differs by more than rounding."""
    return bool(np.abs(np.asarray(one) - np.asarray(other)).max() > 1e-3)
