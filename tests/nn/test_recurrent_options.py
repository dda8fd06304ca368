"""Options of a layer's cell, the initialisation of its weights, and errors for wrong arguments."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import IN, X
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Recurrent

WIDE = 64  # features, enough to estimate a variance


def weights(cell, layer=0, **options):
    """The initial arrays of one layer."""
    module = Recurrent(cell, IN, WIDE, rngs=nnx.Rngs(0), **options)
    return {name: np.asarray(w[...]) for name, w in module.layers[layer].items()}


def gates(w, number):
    """Each gate's recurrent matrix, from their concatenation."""
    assert w.shape == (WIDE, number * WIDE)
    return np.split(w, number, axis=1)


@pytest.mark.parametrize("cell, number", [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_recurrent_init(cell, number):
    """Each gate's matrix is initialised separately; random ones differ between gates."""
    for q in gates(weights(cell)["w_h"], number):
        np.testing.assert_allclose(q.T @ q, np.eye(WIDE), atol=1e-5)  # orthogonal is the default
    for q in gates(weights(cell, recurrent_init="orthogonal")["w_h"], number):
        np.testing.assert_allclose(q @ q.T, np.eye(WIDE), atol=1e-5)
    for w in gates(weights(cell, recurrent_init="identity")["w_h"], number):
        np.testing.assert_array_equal(w, np.eye(WIDE))
    for w in gates(weights(cell, recurrent_init="uniform")["w_h"], number):
        assert 0.98 / np.sqrt(WIDE) < np.abs(w).max() <= 1 / np.sqrt(WIDE)
        assert w.std() == pytest.approx(1 / np.sqrt(3 * WIDE), rel=0.05)
    for w in gates(weights(cell, recurrent_init="glorot")["w_h"], number):
        assert w.var() == pytest.approx(2 / (WIDE + WIDE), rel=0.05)
        assert np.abs(w).max() <= np.sqrt(6 / (WIDE + WIDE))
    for kind in ("orthogonal", "uniform", "glorot"):
        drawn = gates(weights(cell, recurrent_init=kind)["w_h"], number)
        assert len({w.tobytes() for w in drawn}) == number


def test_layers_and_directions_start_apart():
    module = Recurrent("rnn", WIDE, WIDE, num_layers=2, bidirectional=True, merge="sum", rngs=nnx.Rngs(0))
    drawn = [w["w_x"][...] for stack in (module.layers, module.backward_layers) for w in stack]
    assert len({np.asarray(w).tobytes() for w in drawn}) == 4
    # LeCun normal: variance 1 / number of inputs.
    assert np.var(drawn) == pytest.approx(1 / WIDE, rel=0.05)


@pytest.mark.parametrize("layer", [0, 1])
def test_forget_bias_and_bias(layer):
    """In every layer; the biases of other gates start at zero."""
    one, three = (weights("lstm", layer, num_layers=2, **options)["b"] for options in ({}, {"forget_bias": 3.0}))
    np.testing.assert_array_equal(one, np.repeat([0, 1, 0, 0], WIDE))
    np.testing.assert_array_equal(three, np.repeat([0, 3, 0, 0], WIDE))
    assert set(weights("lstm", layer, num_layers=2, bias=False)) == {"w_x", "w_h"}


def test_other_fields_of_a_config_reach_the_cell():
    assert weights("lstm_projected", cell_features=96)["w_p"].shape == (96, WIDE)
    assert set(weights("gru", reset="before")) == {"w_x", "w_h", "w_n", "b"}
    module = Recurrent("rnn", IN, WIDE, activation="relu", num_layers=2, rngs=nnx.Rngs(0))
    assert [(c.activation, c.in_features, c.features) for c in module.configs] == [
        ("relu", IN, WIDE),
        ("relu", WIDE, WIDE),
    ]
    assert (np.asarray(module(X)[0]) >= 0).all()


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_a_misspelt_option_names_the_allowed_ones(cell):
    with pytest.raises(UsageError, match=r"forget_bais") as raised:
        Recurrent(cell, IN, WIDE, rngs=nnx.Rngs(0), forget_bais=3.0)
    for field in dataclasses.fields(CELLS.get(cell).Config):
        assert field.name in str(raised.value)


REFUSED = {
    "unknown cell": ({"cell": "lstn"}, "unknown cell 'lstn'; known: .*lstm"),
    "tree cell": ({"cell": "treelstm_nary"}, "kind 'tree'.*see `Tree`"),
    "merge": ({"merge": "add"}, "merge 'add' is unknown; allowed: 'concat', 'sum', 'mean'"),
    "kind": ({"dropout_kind": "zone"}, "dropout_kind 'zone' is unknown; allowed: 'between_layers', .*'zoneout'"),
    "rate of one": ({"dropout": 1.0}, r"dropout 1.0 is not allowed"),
    "rate below zero": ({"dropout": -0.1}, r"dropout -0.1 is not allowed"),
    "no layers": ({"num_layers": 0}, "num_layers 0 is not allowed"),
    "residual": ({"residual": True}, rf"residual=True needs .* inputs \[{IN}\], outputs {WIDE}"),
    "wide residual": (
        {"in_features": WIDE, "residual": True, "bidirectional": True},
        rf"residual=True needs .* inputs \[{WIDE}\], outputs {2 * WIDE}",
    ),
    "start": ({"recurrent_init": "eye"}, "recurrent_init 'eye' is not allowed.*'orthogonal', 'identity'"),
    "both widths": ({"cell": "gru", "recurrent_bias": True, "reset": "before"}, "needs reset='after'"),
    "missing option": ({"cell": "convlstm"}, "spatial_shape"),
    "implementation": ({"implementation": "scam"}, "implementation 'scam' is unknown; known: 'scan'"),
    "uncovered": ({"implementation": "associative"}, "'associative' covers .* got LSTM"),
    "dropout of nothing": (
        {"cell": "mingru", "dropout": 0.1, "dropout_kind": "recurrent"},
        "dropout_kind 'recurrent' acts on recurrent products, which MinGRU lacks; use 'between_layers'",
    ),
    "zoneout of no scale": (
        {"cell": "slstm", "dropout": 0.1, "dropout_kind": "zoneout"},
        "mixes old and new carry, but SLSTM's have no common scale",
    ),
    "remat": ({"remat_every": 0}, "remat_every 0 is not allowed"),
}


@pytest.mark.parametrize("given, message", REFUSED.values(), ids=REFUSED)
def test_refusals_say_what_is_allowed(given, message):
    options = {"cell": "lstm", "in_features": IN, "features": WIDE, **given}
    with pytest.raises(UsageError, match=message):
        nnx.eval_shape(lambda: Recurrent(**options, rngs=nnx.Rngs(0))(X))
