"""The carry after every step, sequences without a batch axis, and exported programs for any number of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, FEATURES, IN, LENGTHS, RESET, TIME, X, called, close, made
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Recurrent

MASK = np.ones((BATCH, TIME), bool)
MASK[1, [0, 4]] = False
WAYS = {
    "chunked": ("lstm", {}),
    "scan": ("mlstm", {}),
    "associative": ("mingru", {}),
    "newton": ("gru", {}),
    "remat": ("gru", {"remat_every": 3}),
}


@pytest.mark.parametrize("way", WAYS)
def test_carries_are_those_of_shorter_sequences(way):
    """In both directions, with resets and holes. Outputs and the last carry do not depend on `return_carries`."""
    cell, options = WAYS[way]
    named = {} if way == "remat" else {"implementation": way}
    graphdef, params = made(cell, bidirectional=True, **options, **named)
    run = called(graphdef)
    wanted = run(params, X, None, None, RESET, mask=MASK)
    *got, (carries,) = jax.jit(
        lambda params: nnx.merge(graphdef, params)(X, None, None, RESET, mask=MASK, return_carries=True)
    )(params)
    close(tuple(got), wanted, atol=1e-6)
    (last,) = wanted[1]
    close(jax.tree.map(lambda leaf: leaf[:, -1], carries.forward), last.forward, atol=1e-6)
    close(jax.tree.map(lambda leaf: leaf[:, 0], carries.backward), last.backward, atol=1e-6)
    for t in range(TIME):  # a mask truncates the sequence on either side, with one program for all
        ahead, behind = MASK & (np.arange(TIME) <= t), MASK & (np.arange(TIME) >= t)
        for mask, direction in ((ahead, "forward"), (behind, "backward")):
            (short,) = run(params, X, None, None, RESET, mask=mask)[1]
            at = jax.tree.map(lambda leaf, t=t: leaf[:, t], getattr(carries, direction))
            close(at, getattr(short, direction), atol=1e-5)


def test_gradients_reach_through_every_carry():
    """For a loss on all carries, the gradient equals that of a loop over `step`."""
    graphdef, params = made("lstm")

    @jax.jit
    def recorded(params, weight):
        def loss(params):
            _, _, (carries,) = nnx.merge(graphdef, params)(X, lengths=LENGTHS, return_carries=True)
            return sum(jnp.sum(weight * jnp.sin(leaf)) for leaf in carries)

        return jax.grad(loss)(params)

    @jax.jit
    def stepped(params, weight):
        def loss(params):
            layer, total = nnx.merge(graphdef, params), 0.0
            carry = layer.init_carry(BATCH)
            for t in range(TIME):
                after = layer.step(X[:, t], carry)[1]
                there = (t < LENGTHS)[:, None]
                carry = jax.tree.map(lambda new, old, there=there: jnp.where(there, new, old), after, carry)
                total += sum(jnp.sum(weight[:, t] * jnp.sin(leaf)) for leaf in jax.tree.leaves(carry))
            return total

        return jax.grad(loss)(params)

    weight = np.random.default_rng(6).standard_normal((BATCH, TIME, FEATURES)).astype(np.float32)
    close(recorded(params, weight), stepped(params, weight), atol=1e-4)


def test_cudnn_has_no_carries():
    layer = Recurrent("lstm", IN, 4, implementation="cudnn", rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="'cudnn' returns only the last carry"):
        layer(X, return_carries=True)


@pytest.mark.parametrize("cell, shape", [("lstm", (IN,)), ("convlstm", (3, 2, IN))])
def test_without_a_batch_axis(cell, shape):
    """One sequence [T, ..., D] equals a batch of one, for all arguments and results."""
    options = {} if cell == "lstm" else {"spatial_shape": (3, 2)}
    graphdef, params = made(cell, num_layers=2, learned_carry=True, **options)
    x = np.random.default_rng(7).standard_normal((TIME, *shape)).astype(np.float32)
    layer = nnx.merge(graphdef, params)

    def unbatch(tree):
        return jax.tree.map(lambda leaf: leaf[0], tree)

    run = jax.jit(lambda x, *args, **kwargs: layer(x, *args, **kwargs, return_carries=True))
    _, carry, _ = run(x[None])
    masks = {"mask": MASK[1]}
    got = run(x, unbatch(carry), 7, RESET[0], **masks)
    close(got, unbatch(run(x[None], carry, np.array([7]), RESET[:1], mask=MASK[1:])), atol=1e-6)
    start = layer.init_carry(None)
    close(start, unbatch(layer.init_carry(1)), atol=0)
    step = jax.jit(layer.step)
    close(step(x[0], start), unbatch(step(x[None, 0])), atol=1e-6)


CELLS_EXPORTED = ["lstm", "mlstm", "mingru"]


@pytest.mark.parametrize("cell", CELLS_EXPORTED)
def test_a_program_for_any_batch_and_length(cell):
    """`jax.export` with symbolic batch and length, two directions, lengths, resets and carries, run at two sizes."""
    graphdef, params = made(cell, num_layers=2, bidirectional=True)

    def run(params, x, lengths, reset, mask):
        return nnx.merge(graphdef, params)(x, None, lengths, reset, mask=mask, return_carries=True)

    batch, time = jax.export.symbolic_shape("b, t")
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    shapes = [((batch, time, IN), np.float32), ((batch,), np.int32), ((batch, time), bool), ((batch, time), bool)]
    given = [jax.ShapeDtypeStruct(*one) for one in shapes]
    exported = jax.export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(like, *given)
    assert exported.out_avals[0].shape == (batch, time, 2 * FEATURES)
    for b, t in ((1, 3), (BATCH, TIME)):
        arguments = X[:b, :t], np.minimum(LENGTHS[:b], t).astype(np.int32), RESET[:b, :t], MASK[:b, :t]
        close(exported.call(params, *arguments), jax.jit(run)(params, *arguments), atol=1e-6)


def test_forms_that_need_to_know_the_length():
    """A named implementation never falls back; the error names one that works."""
    graphdef, params = made("gru", implementation="chunked")
    time = jax.export.symbolic_shape("t")[0]
    x = jax.ShapeDtypeStruct((BATCH, time, IN), np.float32)
    with pytest.raises(UsageError, match=r"'chunked' needs a known number of steps, .* use 'scan' or None"):
        jax.export.export(jax.jit(lambda x: nnx.merge(graphdef, params)(x)[0]))(x)
