"""Ways to run a layer: named implementations, rematerialised segments, vmap, grad, bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import LENGTHS, RESET, TIME, X, assert_gradient, called, close, made
from xlstm_jax.ops.recurrence import api


@pytest.mark.parametrize(
    "cell, options",
    [
        ("gru", {"implementation": "scan"}),
        ("gru", {"implementation": "chunked"}),
        ("gru", {"implementation": "newton"}),
        ("mingru", {"implementation": "associative"}),
        ("lstm", {"remat_every": 3}),
        ("lstm", {"remat_every": 3, "implementation": "scan", "bidirectional": True}),
    ],
    ids=str,
)
def test_every_way_to_run_gives_the_same(monkeypatch, cell, options):
    """Values and gradients agree, and the named implementation is the one that runs."""
    layout = {"num_layers": 2, "bidirectional": "bidirectional" in options}
    ran = []
    for name, run in api.IMPLEMENTATIONS.items():

        def spied(cell, params, steps, *args, name=name, run=run, **kwargs):
            ran.append((name, steps.x_BTD.shape[1]))
            return run(cell, params, steps, *args, **kwargs)

        monkeypatch.setitem(api.IMPLEMENTATIONS, name, spied)

    def values(graphdef):
        @jax.jit
        def run(params, x):
            def loss(params, x):
                y, carry = nnx.merge(graphdef, params)(x, lengths=LENGTHS, reset=RESET)
                return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((y, carry))), (y, carry)

            return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

        return run

    plain, params = made(cell, **layout)
    wanted = values(plain)(params, X)
    ran.clear()
    close(values(made(cell, **{**layout, **options})[0])(params, X), wanted, atol=1e-4)
    assert {name for name, _ in ran} == {options.get("implementation", "chunked")}
    lengths = {TIME} if "remat_every" not in options else {3, TIME % 3}
    assert {length for _, length in ran} == lengths


def test_vmap_over_inputs_is_each_alone():
    graphdef, params = made("lstm", num_layers=2, bidirectional=True)
    run = called(graphdef)
    x = np.stack([X, X[:, ::-1]])
    y, carry = jax.vmap(run, in_axes=(None, 0, None, None))(params, x, None, LENGTHS)
    for n in range(2):
        close((y[n], jax.tree.map(lambda leaf, n=n: leaf[n], carry)), run(params, x[n], None, LENGTHS))


def test_gradient_against_finite_differences(x64):
    """With respect to all weights and inputs together, with padding and resets."""
    graphdef, params = made("gru", 2, features=2, num_layers=2, bidirectional=True, merge="sum", dtype=jnp.float64)
    point = jax.tree.map(jnp.float64, (params, X[..., :2]))

    def loss(point):
        y, carry = nnx.merge(graphdef, point[0])(point[1], None, LENGTHS, RESET)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((y, carry)))

    assert_gradient(loss, point)


def test_bfloat16_products_and_float32_carry():
    graphdef, params = made("lstm", dtype=jnp.bfloat16)
    y, carry = called(graphdef)(params, X)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype("float32")}
    graphdef, params = made("lstm")
    wanted, _ = called(graphdef)(params, X)
    assert 0 < np.abs(np.asarray(y, np.float32) - wanted).max() < 3e-2
