"""Several documents per row, with padding anywhere: each equals a separate run, in both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, IN, LENGTHS, RESET, TIME, X, called, close, made
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Directions, Recurrent

# (row, steps) of each document: adjacent in the first row, with holes in the second.
DOCUMENTS = [(0, [0, 1, 2]), (0, [3]), (0, [4, 5, 6, 7]), (1, [1, 2, 4]), (1, [6, 7])]
BEGINS = np.zeros((BATCH, TIME), bool)
BEGINS[0, [0, 3, 4]] = True
BEGINS[1, 5] = True  # on padding: applies to the following document
MASK = np.zeros((BATCH, TIME), bool)
for row, steps in DOCUMENTS:
    MASK[row, steps] = True
LONGEST = 4


def alone(packed):
    """Rows [B, T, ...] -> documents [5, LONGEST, ...], zero-padded."""
    out = np.zeros((len(DOCUMENTS), LONGEST, *packed.shape[2:]), packed.dtype)
    for n, (row, steps) in enumerate(DOCUMENTS):
        out[n, : len(steps)] = np.asarray(packed)[row, steps]
    return out


def ends(carry):
    """The final carries of the rows, from those of all documents: forward of the last one, backward of the first."""
    last, first = np.array([2, 4]), np.array([0, 3])

    def of(rows, carry):
        return jax.tree.map(lambda leaf: leaf[rows], carry)

    return tuple(Directions(of(last, both.forward), of(first, both.backward)) for both in carry)


@pytest.mark.parametrize(
    "cell, options",
    [("lstm", {"learned_carry": True, "num_layers": 2}), ("mlstm", {"merge": "sum"}), ("mingru", {})],
    ids=str,
)
def test_documents_are_what_they_are_alone(x64, cell, options):
    """Outputs, carries, and the gradients with respect to weights, inputs and the learned carry."""
    graphdef, params = made(cell, bidirectional=True, dtype=jnp.float64, **options)
    params, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (params, X))

    @jax.jit
    def run(params, x, dy, lengths, reset, mask):
        def loss(params, x):
            y, carry = nnx.merge(graphdef, params)(x, None, lengths, reset, mask=mask)
            return jnp.sum(dy * y), (y, carry)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    width = jax.eval_shape(nnx.merge(graphdef, params), x)[0].shape[-1]
    dy = np.random.default_rng(5).standard_normal((BATCH, TIME, width))
    (dparams, dx), (y, carry) = run(params, x, dy, None, BEGINS, MASK)
    lengths = np.array([len(steps) for _, steps in DOCUMENTS])
    (wanted, wanted_dx), (wanted_y, wanted_carry) = run(params, alone(x), alone(dy), lengths, None, None)
    close((alone(y), alone(dx)), (wanted_y, wanted_dx), atol=1e-12)
    close((dparams, carry), (wanted, ends(wanted_carry)), atol=1e-11)
    assert not np.asarray(y)[~MASK].any() and not np.asarray(dx)[~MASK].any()


def test_lengths_are_a_mask():
    """For right padding, in both directions, with residuals; NaNs in the padding have no effect."""
    graphdef, params = made("gru", num_layers=2, bidirectional=True, merge="sum", residual=True)
    mask, run = np.arange(TIME) < LENGTHS[:, None], called(graphdef)
    wanted = run(params, X, None, LENGTHS, RESET)
    spoilt = np.where(mask[..., None], X, np.nan)
    close(run(params, spoilt, None, None, RESET, mask=mask), wanted, atol=1e-6)
    close(run(params, spoilt, None, LENGTHS, RESET, mask=np.ones_like(mask)), wanted, atol=1e-6)


def test_a_row_without_steps_keeps_its_carry():
    """If the mask is false throughout, with or without resets."""
    graphdef, params = made("lstm", bidirectional=True)
    run = called(graphdef)
    _, before = run(params, X)
    y, after = run(params, X, before, None, np.ones((BATCH, TIME), bool), mask=np.zeros((BATCH, TIME), bool))
    close(after, before, atol=0)
    assert not np.asarray(y).any()


def test_masks_that_do_not_fit_are_refused():
    layer = Recurrent("rnn", IN, 4, residual=False, rngs=nnx.Rngs(0))
    for wrong in (np.ones((1, TIME), bool), np.ones((BATCH, TIME), int), np.ones(BATCH, bool)):
        with pytest.raises(UsageError, match=r"got .*mask \(.*\).*; wanted (bools|x \[B,T,D\], mask)"):
            layer(X, mask=wrong)
    with pytest.raises(UsageError, match="'cudnn' takes lengths but no mask"):
        Recurrent("lstm", IN, 4, implementation="cudnn", rngs=nnx.Rngs(0))(X, mask=MASK)
