"""The arrays of carries and parameters: float64 throughout in a float64 layer, and no shared memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.dtypes import dtypes_inside
from tests.nn.layers import BATCH, IN, TIME, X, called, close, made
from xlstm_jax.cells import CELLS
from xlstm_jax.nn import BahdanauAttention, BatchNorm, CausalConv, LuongAttention, Recurrent, Tree
from xlstm_jax.testing.compare import assert_own_buffers

OPTIONS = {
    "rglru": {"in_features": 4},
    "grud": {"features": 6},
    "convlstm": {"spatial_shape": (3, 2)},
}
SEQUENCE = [name for name in CELLS.names() if CELLS.get(name).kind == "sequence"]
TREES = [name for name in CELLS.names() if CELLS.get(name).kind == "tree"]


def layer(cell, **options):
    sizes = {"in_features": IN, "features": 4} | OPTIONS.get(cell, {})
    return Recurrent(cell, **sizes, **options, rngs=nnx.Rngs(0))


def learns(cell) -> bool:
    return "h" in CELLS.get(cell).init_carry(layer(cell).configs[0], ())._fields


@pytest.mark.parametrize("cell", SEQUENCE)
def test_own_buffers(cell):
    """The carry of two layers in two directions and their parameters, including learned carries, share no memory."""
    options = {"num_layers": 2, "bidirectional": True, "merge": "sum"} if cell != "rglru" else {"num_layers": 2}
    one = layer(cell, **options, learned_carry=learns(cell))
    assert_own_buffers((one.init_carry(BATCH), nnx.state(one)))


@pytest.mark.parametrize(
    "module",
    [
        *(lambda rngs, cell=cell: Tree(cell, IN, 4, rngs=rngs) for cell in TREES),
        lambda rngs: BahdanauAttention(IN, 4, 5, rngs=rngs),
        lambda rngs: LuongAttention(IN, 4, 5, score="concat", rngs=rngs),
        lambda rngs: CausalConv(IN, 4, dtype=jnp.float32, rngs=rngs),
        lambda rngs: BatchNorm(IN, dtype=jnp.float32, rngs=rngs),
    ],
)
def test_own_buffers_of_parameters(module):
    assert_own_buffers(nnx.state(module(nnx.Rngs(0))))


def test_a_compiled_step_may_use_up_its_arrays():
    """Parameters with a learned carry, and the carry, can be donated to one compiled function."""
    graphdef, params = nnx.split(layer("lstm", learned_carry=True))

    def step(given, x):
        params, carry = given
        y, carry = nnx.merge(graphdef, params).step(x, carry)
        return (jax.tree.map(lambda leaf: leaf * 1, params), carry), y

    given = params, nnx.merge(graphdef, params).init_carry(BATCH)
    given = (jax.tree.map(lambda leaf: leaf.copy(), given[0]), given[1])
    wanted = step(given, X[:, 0])[1]
    run = jax.jit(step, donate_argnums=0)
    after, y = run((params, nnx.merge(graphdef, params).init_carry(BATCH)), X[:, 0])
    close(y, wanted, atol=1e-6)
    run(after, X[:, 1])


@pytest.mark.parametrize("cell", SEQUENCE)
def test_float64_throughout(x64, cell):
    """The initial carry, a step, a call and its gradient use no narrower dtype; a narrow carry is widened."""
    one = layer(cell, num_layers=2, dtype=jnp.float64, residual=True, learned_carry=learns(cell))
    graphdef, params = nnx.split(one)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    x = jnp.zeros((BATCH, TIME, *getattr(one.configs[0], "spatial_shape", ()), one.configs[0].in_features))
    carry = one.init_carry(BATCH)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), carry)

    def step(params, x, carry):
        return nnx.merge(graphdef, params).step(x[:, 0], carry)

    def gradient(params, x, carry):
        def loss(params):
            return sum(map(jnp.sum, jax.tree.leaves(nnx.merge(graphdef, params)(x, carry))))

        return jax.grad(loss)(params)

    leaves = jax.tree.leaves((carry, jax.eval_shape(step, params, x, narrow)))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float64")}
    for function in (step, gradient):
        assert dtypes_inside(jax.make_jaxpr(function)(params, x, carry)) == {jnp.dtype("float64")}


@pytest.mark.parametrize("cell", ["lstm", "mlstm"])
def test_float64_steps_are_the_call(x64, cell):
    """Starting from `init_carry`, up to float64 rounding."""
    graphdef, params = made(cell, num_layers=2, dtype=jnp.float64)
    whole, last = called(graphdef)(params, X)
    one = nnx.merge(graphdef, params)
    step, carry = jax.jit(lambda x, carry: one.step(x, carry)), one.init_carry(BATCH)
    for t in range(TIME):
        y, carry = step(X[:, t], carry)
        np.testing.assert_allclose(y, whole[:, t], rtol=0, atol=1e-13)
    close(carry, last, atol=1e-13)
