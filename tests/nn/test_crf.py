"""The CRF layer: zero at the start, what it learns, what decoding allows, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.nn import CRF
from xlstm_jax.ops.crf import viterbi

TAGS = 4
ALLOWED = ~np.eye(TAGS, dtype=bool), np.arange(TAGS) != 1, np.arange(TAGS) != 2
EMISSIONS = np.random.default_rng(0).standard_normal((3, 7, TAGS)).astype(np.float32)
LENGTHS = np.array([7, 4, 1], np.int32)


def test_every_path_is_equally_probable_at_the_start():
    layer = CRF(TAGS, allowed=ALLOWED)
    tags = np.ones((3, 7), np.int32)
    got = jax.jit(lambda tags: layer.log_likelihood(jnp.zeros((3, 7, TAGS)), tags, LENGTHS))(tags)
    np.testing.assert_allclose(got, -LENGTHS * np.log(TAGS), rtol=1e-6)


def test_decoding_keeps_to_what_is_allowed():
    layer, free = CRF(TAGS, allowed=ALLOWED), CRF(TAGS)
    got = np.asarray(jax.jit(layer.decode)(EMISSIONS, LENGTHS))
    for row, length in zip(got, LENGTHS, strict=True):
        assert row[0] != 1 and row[length - 1] != 2 and (row[1:length] != row[: length - 1]).all()
        assert not row[length:].any()
    np.testing.assert_array_equal(free.decode(EMISSIONS), EMISSIONS.argmax(axis=2))
    np.testing.assert_array_equal(free.decode(EMISSIONS), viterbi(EMISSIONS, free.weights)[0])


def test_what_is_learned():
    """Transitions, starts and ends; nothing of a layer that does not learn; no weight decay."""
    layer = CRF(TAGS)
    grads = jax.jit(nnx.grad(lambda layer: -layer.log_likelihood(EMISSIONS, np.ones((3, 7), np.int32), LENGTHS).sum()))(
        layer
    )
    leaves = nnx.to_pure_dict(grads)
    assert set(leaves) == {"transitions", "start", "end"} and all(np.any(leaf) for leaf in leaves.values())
    assert layer.start.get_metadata()["decay"] is False
    assert not jax.tree.leaves(nnx.state(CRF(TAGS, learned=False), nnx.Param))
    hash(nnx.split(CRF(TAGS, allowed=ALLOWED))[0])  # so that it can be an argument of a compiled function


def test_errors():
    with pytest.raises(UsageError, match=r"CRF got allowed \(4, 4\), \(4,\), \(3,\); wanted \[A,A\], \[A\], \[A\]"):
        CRF(TAGS, allowed=(*ALLOWED[:2], np.ones(3, bool)))
    with pytest.raises(UsageError, match="tags"):
        CRF(0)
