"""Language models whose sequences are split over devices, and blocks that do not allow this."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.models.examples import VOCABULARY, error, example, small
from tests.ops.meshes import collectives, mesh
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, build_model, check_context
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig

slow = pytest.mark.slow
BATCH, TIME = 2, 24
LENGTHS = np.array([TIME, 15], np.int32)


def step_of(config):
    """(params, tokens, reset) -> loss and gradients; targets are other tokens."""
    made = example(config)

    def loss(params, tokens, reset):
        logits, _ = made.model(params).unroll(tokens, reset=reset, lengths=LENGTHS)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), ((3 * tokens + 1) % VOCABULARY)[..., None], axis=-1)[
            ..., 0
        ]
        return -jnp.mean(jnp.where(jnp.arange(tokens.shape[1])[None] < LENGTHS[:, None], log_p, 0))

    return made.params, jax.jit(jax.value_and_grad(loss))


def arrays(time=TIME):
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, VOCABULARY, (BATCH, time), np.int32)
    return tokens, rng.random((BATCH, time)) < 0.1


@pytest.mark.parametrize("pattern", ["m", *(pytest.param(pattern, marks=slow) for pattern in ("xm", "dn", "gr"))])
def test_loss_and_gradients(pattern, x64):
    """They equal those of a single device, with packed and padded sequences, and tokens placed on their devices.

    In float64: in float32 both have the rounding error of the recurrence, which depends on the machine.
    """
    params, step = step_of(small(pattern, recurrent=RecurrentBlockConfig("mingru"), dtype="float64"))
    params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
    with jax.numpy_dtype_promotion("standard"):  # Flax's norms promote
        wanted, wanted_gradients = step(params, *arrays())
        with jax.set_mesh(split := mesh(data=2, context=4)):
            placed = jax.device_put(arrays(), NamedSharding(split, P("data", "context")))
            got, gradients = step(params, *placed)
    assert error(got, wanted) <= 1e-12
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted_gradients), strict=True)
    assert max(error(*pair) for pair in pairs) <= 1e-11


@slow
def test_messages_do_not_grow_with_time():
    """A training step exchanges only states and gradients of parameters: the same amount for T and 2 T."""
    passed, params, step = [], *step_of(small("xm"))
    for time in (6 * TIME, 12 * TIME):
        with jax.set_mesh(split := mesh(context=4)):
            sharding = NamedSharding(split, P(None, "context"))
            placed = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding) for a in arrays(time)]
            passed.append(collectives(step.lower(params, *placed).compile()))
    assert passed[0] == passed[1] and {kind for kind, _ in passed[0]} <= {"collective-permute", "all-reduce"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("mms", "mesh.context 4 splits the sequence, but block 'slstm' of model.pattern 'mms' .*sLSTM is sequential"),
        (
            "xLSTM[1:1]",
            "'slstm' .* previous one; use mesh.context=1 or other blocks: griffin, mamba2, minimal, mlstm, xlstm$",
        ),
        ("xt", "block 'transformer' .*attention needs the keys and values"),
        ("w", "block 'rwkv6' "),
        ("r", "block 'recurrent' .*the cell 'lstm' is sequential"),
    ],
)
def test_blocks_that_cannot_be_split(pattern, message):
    """The error names the block, both for a mesh in the context and by name. On one device nothing changes."""
    config = small(pattern)
    check_context(config, 1)
    with pytest.raises(UsageError, match=message) as caught:
        check_context(config, 4)
    assert "\n" not in str(caught.value)
    with jax.set_mesh(mesh(data=2, context=4)), pytest.raises(UsageError, match=message):
        build_model(config)


def test_blocks_that_can_be_split():
    check_context(small("xLSTM[4:0]"), 4)
    check_context(small("rxmdng", recurrent=RecurrentBlockConfig("minlstm")), 4)
    assert all(isinstance(BLOCKS.get(letter).unsplittable(small("m")), str) for letter in BLOCKS.names())
