"""The learned initial carry, and single steps for streaming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, FEATURES, IN, LENGTHS, RESET, TIME, X, called, close, differ, made
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Directions, Recurrent


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_a_learned_start_is_what_a_carry_of_that_value_is(cell):
    """`init_carry` returns it. Outputs agree, and its gradient is the sum over the carries of all sequences."""
    graphdef, params = made(cell, num_layers=2, learned_carry=True)
    start = nnx.merge(graphdef, params).init_carry(BATCH)
    for layer, carry in enumerate(start):
        for name, leaf in carry._asdict().items():
            np.testing.assert_array_equal(leaf, np.stack([params["starts"][layer][name]] * BATCH))
    plain, _ = made(cell, num_layers=2)
    weights = {"layers": params["layers"]}

    @jax.jit
    def learned(params):
        def loss(params):
            y, _ = nnx.merge(graphdef, params)(X, lengths=LENGTHS)
            return jnp.sum(y**2), y

        return jax.grad(loss, has_aux=True)(params)

    @jax.jit
    def given(weights, start):
        def loss(start):
            y, _ = nnx.merge(plain, weights)(X, start, LENGTHS)
            return jnp.sum(y**2), y

        return jax.grad(loss, has_aux=True)(start)

    (grads, y), (wanted, y_given) = learned(params), given(weights, start)
    close(y, y_given)
    for layer, carry in enumerate(wanted):
        close(grads["starts"][layer], {name: leaf.sum(axis=0) for name, leaf in carry._asdict().items()})
        assert all(np.abs(leaf).max() > 1e-3 for leaf in grads["starts"][layer].values())


def test_resets_return_to_the_learned_start():
    """With a carry passed in, the learned carry acts only after a reset, which is then its only gradient path."""
    graphdef, params = made("gru", learned_carry=True)
    run, carry = called(graphdef), made_carry(graphdef, params)
    y, _ = run(params, X, carry, None, RESET)
    fresh, _ = run(params, X[:1, 3:])
    close(y[:1, 3:], fresh)
    assert differ(y[:, :3], run(params, X)[0][:, :3])

    @jax.jit
    def gradient(params, reset):
        def loss(starts):
            return jnp.sum(nnx.merge(graphdef, {**params, "starts": starts})(X, carry, None, reset)[0])

        return jax.grad(loss)(params["starts"])[0]["h"]

    assert not np.asarray(gradient(params, np.zeros_like(RESET))).any()
    assert np.asarray(gradient(params, RESET)).all()


def made_carry(graphdef, params):
    """The carry after some other inputs."""
    return called(graphdef)(params, X[:, ::-1])[1]


def test_each_direction_learns_its_own_start():
    graphdef, params = made("rnn", bidirectional=True, learned_carry=True)
    (start,) = nnx.merge(graphdef, params).init_carry(BATCH)
    assert isinstance(start, Directions)
    close(start.forward.h[0], params["starts"][0]["h"], atol=0)
    close(start.backward.h[0], params["backward_starts"][0]["h"], atol=0)
    assert differ(start.forward.h, start.backward.h)
    run = called(graphdef)
    y, _ = run(params, X)
    other, _ = run({**params, "backward_starts": params["starts"]}, X)
    close(y[..., :FEATURES], other[..., :FEATURES], atol=0)
    assert differ(y[:, -1, FEATURES:], other[:, -1, FEATURES:])


def test_a_learned_start_begins_at_the_cell_s_own():
    """It is a parameter only with `learned_carry=True`."""
    layer = Recurrent("lstm", IN, FEATURES, learned_carry=True, rngs=nnx.Rngs(0))
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(layer.init_carry(1)))
    assert len(jax.tree.leaves(nnx.state(layer, nnx.Param))) == 3 + 2  # w_x, w_h, b and c, h
    plain = Recurrent("lstm", IN, FEATURES, rngs=nnx.Rngs(0))
    assert len(jax.tree.leaves(nnx.state(plain, nnx.Param))) == 3


@pytest.mark.parametrize("cell", ["mlstm", "slstm"])
def test_stabilised_states_are_not_learned(cell):
    with pytest.raises(UsageError, match=f"learned_carry=True needs .* {cell} is not"):
        Recurrent(cell, IN, FEATURES, learned_carry=True, rngs=nnx.Rngs(0))


STEPPED = {
    "lstm": {},
    "gru": {"num_layers": 3, "residual": True},
    "rnn": {"num_layers": 2, "learned_carry": True},
    "mlstm": {"num_layers": 2},
    "slstm": {"num_layers": 2},
    "mingru": {"num_layers": 2},
    "lstm_projected": {"num_layers": 2, "residual": True},
    "lstm_ln": {"dropout": 0.3, "dropout_kind": "zoneout"},
    "lstm_fgr": {"dropout": 0.3, "dropout_kind": "variational"},
    "mgu": {"num_layers": 2, "dropout": 0.3},
    "convlstm": {"num_layers": 2, "spatial_shape": (3, 2), "peepholes": True},
}


@pytest.mark.parametrize("cell", STEPPED)
def test_steps_are_the_call(cell):
    """Outputs of every step and the last carry, starting from the carry of an earlier call."""
    options = STEPPED[cell]
    graphdef, params = made(cell, **options)
    shape = (BATCH, 4, *options.get("spatial_shape", ()), IN)
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    run = called(graphdef)
    step = jax.jit(lambda params, x, carry: nnx.merge(graphdef, params).step(x, carry))
    _, first = run(params, x[:, ::-1])
    y, after = run(params, x, first)
    carry, outputs = first, []
    for t in range(x.shape[1]):
        out, carry = step(params, x[:, t], carry)
        outputs.append(out)
    close((jnp.stack(outputs, axis=1), carry), (y, after))
    assert jax.tree.structure(carry) == jax.tree.structure(first)
    start, _ = step(params, x[:, 0], nnx.merge(graphdef, params).init_carry(BATCH))
    close(start, run(params, x)[0][:, 0])
    assert differ(start, outputs[0])


def test_a_step_in_bfloat16_gives_what_the_call_gives():
    graphdef, params = made("gru", num_layers=2, dtype=jnp.bfloat16)
    y, _ = called(graphdef)(params, X[:, :1])
    layer = nnx.merge(graphdef, params)
    out, carry = layer.step(X[:, 0], layer.init_carry(BATCH))
    assert out.dtype == jnp.bfloat16 and {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(np.asarray(out, np.float32), np.asarray(y[:, 0], np.float32), atol=1e-2)


def test_two_directions_have_no_step():
    layer = Recurrent("rnn", IN, FEATURES, bidirectional=True, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match="bidirectional layer has no step"):
        layer.step(X[:, 0], layer.init_carry(BATCH))


def test_padding_returns_the_learned_start_for_an_empty_sequence():
    """A sequence of length zero takes no step: its carry is the initial one, its outputs are zero."""
    graphdef, params = made("lstm", learned_carry=True)
    y, carry = called(graphdef)(params, X, None, np.array([0, TIME]))
    start = nnx.merge(graphdef, params).init_carry(BATCH)
    assert not np.asarray(y)[0].any()
    close(jax.tree.map(lambda leaf: leaf[0], carry), jax.tree.map(lambda leaf: leaf[0], start), atol=0)


def test_a_carry_of_another_depth_is_refused():
    """With fewer entries, `step` would stop early and return a lower layer's output."""
    layer = Recurrent("rnn", 3, 3, num_layers=2, rngs=nnx.Rngs(0))
    carry = layer.init_carry(1)
    for wrong in (carry[:1], carry * 2):
        with pytest.raises(
            UsageError, match=rf"carry tuple of {len(wrong)} .*; wanted tuple of 2 \(HiddenCarry\(h\), "
        ):
            layer(jnp.ones((1, 2, 3)), wrong)
        with pytest.raises(
            UsageError, match=rf"carry tuple of {len(wrong)} .*; wanted tuple of 2 \(HiddenCarry\(h\), "
        ):
            layer.step(jnp.ones((1, 3)), wrong)


def test_step_without_a_carry_is_the_first_one():
    layer = Recurrent("gru", 3, 3, rngs=nnx.Rngs(0))
    y_BF, carry = layer.step(jnp.ones((2, 3)))
    wanted_BTF, last = layer(jnp.ones((2, 1, 3)))
    np.testing.assert_allclose(y_BF, wanted_BTF[:, 0], atol=1e-6)
    np.testing.assert_allclose(carry[0].h, last[0].h, atol=1e-6)


def test_masks_may_be_lists_and_must_fit():
    layer = Recurrent("rnn", 3, 3, rngs=nnx.Rngs(0))
    x_BTD = jnp.ones((2, 2, 3))
    y_BTD, _ = layer(x_BTD, None, [2, 1], [[False, True], [False, False]])
    assert not np.asarray(y_BTD)[1, 1].any() and np.asarray(y_BTD)[0].all()
    for wrong, message in (
        ({"lengths": [2]}, r"lengths \(1,\).*; wanted .*: lengths has B = 1, not 2"),
        ({"reset": [[True]]}, r"reset \(1, 1\); wanted .*: reset has B = 1, not 2"),
    ):
        with pytest.raises(UsageError, match=message):
            layer(x_BTD, **wrong)
    with pytest.raises(UsageError, match=r"got x \(3,\); wanted x \[B,T,D\]: x has 1 axes, not 3"):
        layer(x_BTD[0, 0])
