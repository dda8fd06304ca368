"""The arrays of every block's carry and parameters: float64 throughout in a float64 model, with separate memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.dtypes import dtypes_inside
from tests.models.examples import small
from xlstm_jax.generate import init_state
from xlstm_jax.models import BLOCKS, Stack, build_model
from xlstm_jax.testing.compare import assert_own_buffers

TOKENS = np.zeros((2, 4), np.int32)


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_own_buffers(letter):
    """For the parameters of two blocks and for a fresh generation state, block by block and stacked for a scan."""
    for scan_layers in (False, True):
        model = build_model(small(f"{letter}*2", scan_layers=scan_layers))
        assert_own_buffers((init_state(model, 2), nnx.state(model)))


def test_own_buffers_of_an_encoder():
    assert_own_buffers(nnx.state(Stack(small("mr"), "both", rngs=nnx.Rngs(0))))


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_float64_throughout(x64, letter):
    """The first carry, the logits and the last carry; no narrower dtype inside, with resets and padding."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build_model(small(letter, dtype="float64"))))
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float64), nnx.to_pure_dict(state))

    def run(params):
        model = nnx.merge(graphdef, params)
        carry = model.init_carry(2)
        return carry, model.unroll(TOKENS, carry, reset=TOKENS == 1, lengths=np.array([4, 2]))

    with jax.numpy_dtype_promotion("standard"):  # for flax's own norms
        jaxpr, shapes = jax.make_jaxpr(run, return_shape=True)(params)
    floats = [leaf.dtype for leaf in jax.tree.leaves(shapes) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {*floats} == dtypes_inside(jaxpr) == {jnp.dtype("float64")}
