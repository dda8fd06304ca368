"""Jacobians of a step over all cells: the diagonal from one derivative per leaf equals that of the full Jacobian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.ops.recurrence.jacobian import by_columns, has_own_diagonal, own_diagonal
from xlstm_jax.ops.recurrence.scan import masked
from xlstm_jax.testing.examples import BATCH, examples

T = 5
RESET = np.zeros((T, BATCH), bool)
RESET[2, 0] = True
PADDING = np.zeros((T, BATCH), bool)
PADDING[4, 1] = True
# The update of these cells mixes features: by a product, a norm, gates that depend on each other, or map neighbours.
MIXING = ("convlstm", "gru-reset=before", "lstm_fgr", "lstm_ln", "lstm_projected", "mgu", "slstm")
PLAIN = [
    e
    for e in examples()
    if hasattr(e.start(np.float32), "h") and len(jax.tree.leaves(e.start(np.float32))[0].shape) == 2
]


def known(example) -> bool:
    return has_own_diagonal(example.cell, example.params(np.float32))


@pytest.mark.parametrize("example", [e for e in PLAIN if known(e)], ids=repr)
def test_own_diagonal_is_that_of_the_full_jacobian(example, x64):
    """At random carries, with a reset (derivative 0) and a padded step (derivative 1)."""
    params, start = example.params(np.float64), example.start(np.float64)
    u_TB = jax.tree.map(lambda a: a.swapaxes(0, 1), example.cell.project(params, example.inputs(T, np.float64)))
    rng = np.random.default_rng(3)
    carries_TB = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal((T, *a.shape))), start)
    names, width = carries_TB._fields, params.config.features

    def joined(carry):
        return jnp.concatenate([leaf.reshape(T, BATCH, -1) for leaf in carry], axis=-1)

    def transition(z_TBS):
        carries = type(start)(*jnp.split(z_TBS, len(names), axis=-1))
        body = masked(functools.partial(example.cell.step, params), start)
        return joined(jax.vmap(body)(carries, (u_TB, RESET, PADDING))[0])

    step = 1e-6

    @jax.jit
    def jacobians(carries_TB):
        z_TBS = joined(carries_TB)
        _, linear = jax.linearize(transition, z_TBS)
        full_TBSS, diagonal_TBS = (by_columns(linear, z_TBS, diagonal=diagonal) for diagonal in (False, True))
        own_TBS = joined(own_diagonal(example.cell, params, start, carries_TB, (u_TB, RESET, PADDING)))
        moved_TBS = transition(z_TBS.at[..., 0].add(step)) - transition(z_TBS.at[..., 0].add(-step))
        return full_TBSS, diagonal_TBS, own_TBS, moved_TBS

    full_TBSS, diagonal_TBS, got, moved_TBS = map(np.asarray, jacobians(carries_TB))
    wanted = np.diagonal(full_TBSS, axis1=-2, axis2=-1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(diagonal_TBS, wanted, rtol=0, atol=1e-12)
    assert not got[2, 0].any() and (np.asarray(got[4, 1]) == 1).all() and got.shape[-1] == len(names) * width
    # Rows by output: a column of the full Jacobian has the derivatives of all outputs by one input feature.
    np.testing.assert_allclose(full_TBSS[..., 0], moved_TBS / (2 * step), rtol=0, atol=1e-8)


def test_which_cells_have_one():
    """A cell whose update mixes features must not use the shortcut."""
    without = {example.name for example in examples() if not known(example)}
    assert {name for name in without if name in MIXING} == set(MIXING)
    assert {"rnn", "lstm", "gru", "lstm_peephole", "lstm_cifg"} <= {e.name for e in examples()} - without
