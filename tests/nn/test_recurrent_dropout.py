"""The four kinds of dropout: what they drop and when, and that they are active only with a key."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, TIME, X, called, close, differ, made

KINDS = ("between_layers", "variational", "recurrent", "zoneout")
KEY, OTHER = jax.random.key(0), jax.random.key(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_makes_it_happen(kind):
    """The same key gives the same masks, another key gives others. Without a key nothing is dropped."""
    options = {"num_layers": 2, "bidirectional": True}
    graphdef, params = made("lstm", dropout=0.5, dropout_kind=kind, **options)
    run = called(graphdef)
    plain, first, again, other = (run(params, X, key=key) for key in (None, KEY, KEY, OTHER))
    close(first, again, atol=0)
    assert differ(first[0], plain[0]) and differ(first[0], other[0])
    graphdef, _ = made("lstm", **options)
    undropped = called(graphdef)(params, X)
    if kind == "zoneout":  # it uses its mean instead
        assert differ(undropped[0], plain[0])
    else:
        close(plain, undropped)


@pytest.mark.parametrize("kind", KINDS)
def test_rate_zero_does_nothing(kind):
    graphdef, params = made("rnn", num_layers=2, dropout_kind=kind, dropout=0.0)
    run = called(graphdef)
    close(run(params, X, key=KEY), run(params, X), atol=0)


def test_between_layers_spares_inputs_and_top():
    """A single layer drops nothing. Of two layers, the lower one is unaffected and the upper one's outputs are kept."""
    graphdef, params = made("rnn", dropout=0.5)
    run = called(graphdef)
    close(run(params, X, key=KEY), run(params, X), atol=0)
    graphdef, params = made("rnn", num_layers=2, dropout=0.5)
    run = called(graphdef)
    (y, (lower, upper)), (_, (lower_plain, upper_plain)) = run(params, X, key=KEY), run(params, X)
    assert np.asarray(y).all()
    close(lower, lower_plain)
    assert differ(upper.h, upper_plain.h)


# If a feature is dropped at every step, its row of the weights that read it has no gradient. With one sequence of two
# steps (nothing is fed back at the first) this happens to some features under any mask. With twelve steps it happens
# only if all steps share one mask. Order: x, the upper layer's w_x, the lower layer's w_h.
DROPPED = {
    ("between_layers", 2): (False, True, False),
    ("between_layers", 12): (False, False, False),
    ("variational", 2): (True, True, True),
    ("variational", 12): (True, True, True),
    ("recurrent", 2): (False, False, True),
    ("recurrent", 12): (False, False, False),
}


@pytest.mark.parametrize("kind, time", DROPPED, ids=str)
def test_what_each_kind_drops_and_for_how_long(kind, time):
    features = 16
    x = np.random.default_rng(2).standard_normal((1, time, features)).astype(np.float32)
    graphdef, params = made("rnn", features, features, num_layers=2, dropout=0.5, dropout_kind=kind)

    @jax.jit
    def gradients(params, x, key):
        def loss(params, x):
            return jnp.sum(jnp.sin(nnx.merge(graphdef, params)(x, key=key)[0]))

        dparams, dx = jax.grad(loss, argnums=(0, 1))(params, x)
        return dx[0].T, dparams["layers"][1]["w_x"], dparams["layers"][0]["w_h"]

    gone = [[(np.asarray(rows) == 0).all(axis=1) for rows in gradients(params, x, key)] for key in (KEY, OTHER)]
    for drops, rows, others in zip(DROPPED[kind, time], *gone, strict=True):
        assert rows.any() == drops and not rows.all()
        assert (rows != others).any() == drops


def test_variational_masks_are_a_sequence_s_own():
    """Each sequence, layer and direction has its own mask. Kept features are scaled up: by two at a rate of a half."""
    x = np.random.default_rng(2).standard_normal((BATCH, TIME, 16)).astype(np.float32)
    options = {"num_layers": 2, "bidirectional": True, "merge": "sum"}
    graphdef, params = made("rnn", 16, 16, dropout=0.5, dropout_kind="variational", **options)

    @jax.jit
    def run(params, x):
        return jax.grad(lambda *a: jnp.sum(nnx.merge(graphdef, a[0])(a[1], key=KEY)[0] ** 2), argnums=(0, 1))(params, x)

    _, dx = run(params, x)
    gone = np.asarray(dx == 0).all(axis=1)
    assert (gone[0] != gone[1]).any()
    dparams, _ = run(params, x[:1])  # one sequence: a row is zero if its feature is never fed back
    fed_back = [weights["w_h"] for stack in dparams.values() for weights in stack.values()]
    assert len({(np.asarray(dw) == 0).all(axis=1).tobytes() for dw in fed_back}) == len(fed_back) == 4
    # The first step has no feedback: the lower layer equals a plain layer with masked inputs.
    plain, _ = made("rnn", 16, 16, **options)
    masked = np.where(gone[:, None], 0, 2 * x)
    _, (wanted, _) = called(plain)(params, masked[:, :1])
    _, (got, _) = called(graphdef)(params, x[:, :1], key=KEY)
    close(got, wanted)


def test_recurrent_leaves_the_first_step_and_the_memory_alone():
    """The first step has no feedback to drop. With w_h = 0 dropout has no effect, so the cell state is not dropped."""
    graphdef, params = made("lstm", dropout=0.5, dropout_kind="recurrent")
    run = called(graphdef)
    (y, _), (plain, _) = run(params, X, key=KEY), run(params, X)
    close(y[:, 0], plain[:, 0])
    assert differ(y[:, 1], plain[:, 1])
    params["layers"][0]["w_h"] = jnp.zeros_like(params["layers"][0]["w_h"])
    close(run(params, X, key=KEY), run(params, X))


def test_zoneout_keeps_features_at_their_old_value():
    """With a key about `rate` of the outputs keep their value, others each step. Without a key it uses the mean."""
    rate = 0.25
    x = np.random.default_rng(2).standard_normal((BATCH, 32, 3)).astype(np.float32)
    graphdef, params = made("lstm", features=32, dropout=rate, dropout_kind="zoneout")
    y, _ = called(graphdef)(params, x, key=KEY)
    stayed = np.diff(np.asarray(y), axis=1) == 0
    assert stayed.mean() == pytest.approx(rate, abs=0.03)
    assert stayed.any(axis=(0, 1)).all() and not stayed.all(axis=1).any()

    layer, plain = nnx.merge(graphdef, params), called(made("lstm", features=32)[0])
    carry, outputs = layer.init_carry(BATCH), []
    for t in range(3):
        _, after = plain(params, x[:, t : t + 1], carry)
        carry = jax.tree.map(lambda old, new: rate * old + (1 - rate) * new, carry, after)
        outputs.append(carry[0].h)
    close(called(graphdef)(params, x[:, :3]), (jnp.stack(outputs, axis=1), carry))
