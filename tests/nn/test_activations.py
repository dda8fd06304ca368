"""GELU and its derivatives compared with the definition by Python's erf."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.nn import gelu


def test_gelu(x64):
    x = np.array([-40.0, -5.0, -1.0, -1e-3, 0.0, 0.5, 3.0, 40.0])
    cdf = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    derivatives = x * cdf, cdf + x * density, (2 - x * x) * density
    one = gelu
    for wanted in derivatives:
        np.testing.assert_allclose(jax.vmap(one)(jnp.asarray(x)), wanted, rtol=1e-12, atol=1e-15)
        one = jax.grad(one)
    narrow = jnp.asarray(x, jnp.bfloat16)
    np.testing.assert_array_equal(gelu(narrow), jax.nn.gelu(narrow, approximate=False))
    assert gelu(narrow).dtype == jnp.bfloat16
