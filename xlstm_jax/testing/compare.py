"""Comparisons of pytrees of arrays, and random pytrees."""

import jax
import jax.numpy as jnp
import numpy as np

CLOSE = 1e-11


def assert_close(got, wanted, limit: float = CLOSE) -> None:
    """Asserts that trees agree within `limit` times max(1, largest value of the leaf), with the same infinities."""
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape and a.dtype == b.dtype
        scale = max(1.0, np.max(np.abs(b), initial=0, where=np.isfinite(b)))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit * scale)


def assert_own_buffers(tree) -> None:
    """Asserts that no two leaves share memory, so all of them can be donated to a compiled function."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array) and leaf.size]
    keys = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    leaves = [jax.random.key_data(leaf) if key else leaf for leaf, key in zip(leaves, keys, strict=True)]
    assert leaves and len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


def dot(tree, direction) -> float:
    return sum(float(jnp.vdot(a, b)) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(direction), strict=True))


def normal_like(tree, seed: int):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype), tree)
