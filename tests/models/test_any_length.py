"""Models and ops as one program for any batch size and number of steps, by `jax.export` with symbolic sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import error, example, small
from tests.models.test_properties import TOKENS, run
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS
from xlstm_jax.ops.mlstm import mlstm


def exported(letter):
    made = example(small(letter))
    batch, time = jax.export.symbolic_shape("b, t")
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), made.params)
    shapes = ((batch, time), np.int32), ((batch, time), bool), ((batch,), np.int32)
    tokens, reset, lengths = (jax.ShapeDtypeStruct(*one) for one in shapes)

    def unroll(params, tokens, reset, lengths):
        return made.model(params).unroll(tokens, reset=reset, lengths=lengths)

    return made, jax.export.export(jax.jit(unroll), platforms=("cpu",))(like, tokens, reset, lengths)


@pytest.mark.parametrize(
    "letter",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("mlstm", "slstm", "recurrent")))
        for name in BLOCKS.names()
    ],
)
def test_every_block(letter):
    """Logits and carry equal those of a program for fixed sizes, with resets and padding."""
    made, program = exported(letter)
    reset = np.zeros(TOKENS.shape, bool)
    reset[0, 4] = reset[1, [0, 9]] = True
    lengths = np.array([12, 7, 0])
    got = program.call(made.params, TOKENS, reset, lengths.astype(np.int32))
    wanted = run(letter, TOKENS, reset=reset, lengths=lengths)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        finite = np.isfinite(b)  # the stabiliser of an empty sLSTM state is -inf
        assert a.shape == b.shape and (np.isfinite(a) == finite).all()
        assert not finite.any() or not np.asarray(b)[finite].any() or error(a[finite], b[finite]) < 1e-5


def test_without_masks():
    """Attention does not use its fast path, which needs a fixed T."""
    made = example(small("t"))
    tokens = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, t"), np.int32)
    program = jax.export.export(jax.jit(made.model()), platforms=("cpu",))(tokens)
    assert error(program.call(TOKENS), run("t", TOKENS)[0]) < 1e-5


def test_a_named_form_never_falls_back():
    time = jax.export.symbolic_shape("t")[0]
    q, f = (jax.ShapeDtypeStruct((1, time, *rest), jnp.float32) for rest in ((1, 2), (1,)))
    op = jax.jit(lambda q, f: mlstm(q, q, q, f, f, implementation="chunkwise")[0])
    with pytest.raises(UsageError, match="mlstm implementation 'chunkwise' needs a known number of steps"):
        jax.export.export(op)(q, f)
