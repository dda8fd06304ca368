"""`remat_every`: the same values and gradients with less memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.ops.recurrence import Noise, recurrence
from xlstm_jax.testing.compare import assert_close, normal_like
from xlstm_jax.testing.examples import BATCH, examples

pytestmark = pytest.mark.usefixtures("rolled")

T = 10
RESET = np.zeros((BATCH, T), bool)
RESET[0, [3, 4, 8]] = RESET[1, [0, 7]] = True  # at the start of a segment, inside one, and in the padding
LENGTHS = np.array([T, 6])
EXAMPLES = {example.name: example for example in examples()}


@functools.cache
def result(name, implementation, reverse, noise, remat_every):
    """y, the last carry and gradients of params, x, carry and start, in float64."""
    example = EXAMPLES[name]
    params, x = example.params(np.float64), example.inputs(T, np.float64)
    carry, start = (normal_like(example.start(np.float64), seed) for seed in (2, 3))

    @jax.jit
    def pull(masks, key, *given):
        def run(params, x, carry, start):
            options = {"reverse": reverse, "noise": noise, "key": key, "implementation": implementation}
            options |= {"lengths_B": masks[0], "reset_BT": masks[1], "remat_every": remat_every}
            return recurrence(example.cell, params, x, carry=carry, start=start, **options)

        outputs, pullback = jax.vjp(run, *given)
        return outputs, pullback(normal_like(outputs, 4))

    return pull((LENGTHS, RESET), jax.random.key(0), params, x, carry, start)


@pytest.mark.parametrize("remat_every", [1, 4, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (5, 20))])
@pytest.mark.parametrize(
    "name, implementation, reverse, noise",
    [
        ("lstm_peephole", "chunked", True, Noise("recurrent", 0.4)),
        ("gru", "scan", False, Noise("zoneout", 0.4)),
        ("minlstm", None, True, None),
    ],
    ids=str,
)
def test_changes_nothing(name, implementation, reverse, noise, remat_every, x64):
    """Segments that divide T, that leave a remainder, of one step and of more than T steps."""
    wanted = result(name, implementation, reverse, noise, None)
    assert_close(result(name, implementation, reverse, noise, remat_every), wanted)


@pytest.mark.parametrize("implementation", ["scan", "chunked"])
def test_takes_less_memory(implementation):
    """Memory for a gradient of the last state, at 1,024 steps in segments of 32."""
    time, every = 1024, 32
    cell = CELLS.get("lstm")
    params = cell.init(jax.random.key(0), cell.Config(in_features=4, features=32))

    def memory(remat_every):
        def loss(params, x):
            _, carry = recurrence(cell, params, x, remat_every=remat_every, implementation=implementation)
            return jnp.sum(carry.h)

        x = jax.ShapeDtypeStruct((BATCH, time, 4), np.float32)
        return jax.jit(jax.grad(loss)).lower(params, x).compile().memory_analysis().temp_size_in_bytes

    state = 4 * BATCH * 32
    assert memory(None) > 5 * time * state
    assert memory(every) < memory(None) / 4
