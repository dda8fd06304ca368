"""Errors for wrong arguments of every layer, at construction and in a call: one line that names the argument."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import BATCH, IN, LENGTHS, RESET, TIME, X
from xlstm_jax import nn
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Directions, Recurrent
from xlstm_jax.ops.tree import forest

INIT = nnx.initializers.zeros
MEMORY = np.ones((BATCH, 5, 4), np.float32)
ATTENTION = {"query_features": 3, "memory_features": 4, "features": 6}
# For each layer its constructor arguments and the arguments of a call; none if the layer is one of Flax's own.
LAYERS = {
    "Recurrent": ({"cell": "lstm", "in_features": IN, "features": 4, "num_layers": 2}, {"x_BTD": X}),
    "Tree": ({"cell": "treelstm_nary", "in_features": 3, "features": 4, "arity": 2}, {"x_ND": X[0, :2]}),
    "CausalConv": ({"features": IN, "width": 3}, {"x_BTD": X}),
    "Headwise": ({"features": IN, "block_size": 1, "kernel_init": INIT}, {"x": X}),
    "HeadNorm": ({"heads": 2, "head_features": 4}, {"h": X.reshape(2, 3, 2, 4)}),
    "BatchNorm": ({"features": IN}, {"x_BTD": X}),
    "BahdanauAttention": (ATTENTION, {"query": X, "memory_BSV": MEMORY}),
    "LuongAttention": (ATTENTION, {"query": X, "memory_BSV": MEMORY}),
    "linear": ({"in_features": 3, "out_features": 4, "kernel_init": INIT}, {}),
    "layer_norm": ({"features": 4}, {}),
    "rms_norm": ({"features": 4}, {}),
}
FIXED = {"Tree": {"shape": forest([[-1, -1], [0, -1]])}, "BatchNorm": {"training": True}}
MASKED = {"Recurrent": ("lengths", "reset"), "CausalConv": ("lengths", "reset"), "BatchNorm": ("lengths",)}
called = pytest.mark.parametrize("name", [name for name, (_, arrays) in LAYERS.items() if arrays])


def make(name, **changes):
    options = {"dtype": jnp.float32, **LAYERS[name][0], **changes}
    return nnx.eval_shape(lambda: getattr(nn, name)(**options, rngs=nnx.Rngs(0)))


@functools.cache
def _split(name):
    return nnx.split(make(name))


def call(name, **given):
    """The shapes that a call returns."""
    graphdef, state = _split(name)
    options = FIXED.get(name, {}) | given
    return jax.eval_shape(lambda state: nnx.merge(graphdef, state)(**options), state)


def refused(parts, function, *args, **given):
    """Asserts that the call raises an error of one line that contains all `parts`."""
    with pytest.raises(UsageError) as caught:
        function(*args, **given)
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message


def test_the_table_has_every_layer():
    """All exports of the package except plain functions, types, tables and `CRF`, which has separate tests."""
    others = {"CRF", "NORMS", "Directions", "small_init", "wang_init", "softcap", "gelu"}
    assert set(LAYERS) == set(nn.__all__) - others


@pytest.mark.parametrize("name", LAYERS)
def test_sizes_and_dtypes(name):
    """Each integer of the table set to zero, a negative number or a fraction; and a non-float dtype."""
    for option, size in LAYERS[name][0].items():
        if isinstance(size, int):
            for wrong in (0, -1, 1.5):
                refused([f"{option} {wrong} is not allowed; must be an integer"], make, name, **{option: wrong})
    for wrong in (jnp.int32, "bool"):
        refused(["dtype", "is not allowed; choose a float"], make, name, dtype=wrong)


NUMBERS = {(name, "eps") for name in ("layer_norm", "rms_norm", "BatchNorm", "HeadNorm")} | {("Recurrent", "dropout")}


@pytest.mark.parametrize(("name", "option"), sorted(NUMBERS))
def test_numbers(name, option):
    for wrong in (np.nan, np.inf, -1.0, "1", None, True):
        refused([f"{name} {option} {wrong!r} is not allowed; must be "], make, name, **{option: wrong})


def test_switches_and_caps():
    """Python would take the string 'no' as true."""
    for option in ("bidirectional", "residual", "learned_carry"):
        refused([f"Recurrent {option} 'no' is not allowed; must be True or False"], make, "Recurrent", **{option: "no"})
    for wrong in (np.nan, -1.0):
        refused([f"softcap cap {wrong} is not allowed; must be at least 0"], nn.softcap, X, wrong)


@called
def test_arrays_that_do_not_fit(name):
    """Arrays of another width or of integers, and values that are not arrays. Lists are accepted."""
    given = LAYERS[name][1]
    for argument, a in given.items():
        shown = argument.split("_")[0]
        for wrong, parts in (
            (np.concatenate([a, a], -1), [f"{shown} (", "; wanted ", f"{shown} [", f"{a.shape[-1] * 2}"]),
            (a.astype(np.int32), [f"{shown} {a.shape} of int32; wanted floats"]),
            ([[1.0], [1.0, 2.0]], [f"{shown} that is not an array"]),
            (None, [f"got None for {shown}"]),
        ):
            refused(parts, call, name, **given | {argument: wrong})
    assert call(name, **{argument: a.tolist() for argument, a in given.items()}) == call(name, **given)


@pytest.mark.parametrize("name", MASKED)
def test_masks_that_do_not_fit(name):
    given = LAYERS[name][1]
    wrong = {
        "lengths": [
            (np.ones((BATCH, TIME), bool), f"lengths ({BATCH}, {TIME}) of bool; wanted integers [B]"),
            (LENGTHS[:1], "lengths has B = 1, not 2"),
            (LENGTHS.astype(np.float32), "lengths (2,) of float32"),
        ],
        "reset": [
            (RESET.astype(np.int32), f"reset ({BATCH}, {TIME}) of int32; wanted bools"),
            (RESET[:1], "reset has B = 1, not 2"),
            (RESET[:, :1], "reset has T = 1, not"),
        ],
    }
    for argument in MASKED[name]:
        for a, message in wrong[argument]:
            refused([message], call, name, **given, **{argument: a})


@called
def test_no_rows_and_no_steps(name):
    """Outputs are empty like the input. A tree always has nodes."""
    if name == "Tree":
        return
    usual = jax.tree.leaves(call(name, **LAYERS[name][1]))[0]
    for rows, steps in ((0, None), (None, 0), (0, 0)):
        cut = {argument: a[:rows, :steps] if a.shape[1] != 5 else a[:rows] for argument, a in LAYERS[name][1].items()}
        first = next(iter(cut.values()))
        got = jax.tree.leaves(call(name, **cut))[0]
        assert got.shape == (*first.shape[:2], *usual.shape[2:])
    if "Attention" in name:
        context, weights = call(name, query=X, memory_BSV=MEMORY[:, :0])
        assert weights.shape == (BATCH, TIME, 0) and context.shape[:2] == (BATCH, TIME)


CARRIES = {
    "one row for two": lambda layer: layer.init_carry(1),
    "three rows for two": lambda layer: layer.init_carry(3),
    "h and c": lambda layer: (jnp.ones((BATCH, 4)), jnp.ones((BATCH, 4))),
    "one layer": lambda layer: layer.init_carry(BATCH)[:1],
    "one of a layer": lambda layer: layer.init_carry(BATCH)[0],
    "both directions": lambda layer: tuple(Directions(one, one) for one in layer.init_carry(BATCH)),
    "another cell": lambda layer: Recurrent("gru", IN, 4, num_layers=2, rngs=nnx.Rngs(0)).init_carry(BATCH),
    "another width": lambda layer: Recurrent("lstm", IN, 5, num_layers=2, rngs=nnx.Rngs(0)).init_carry(BATCH),
    "integers": lambda layer: jax.tree.map(lambda leaf: leaf.astype(jnp.int32), layer.init_carry(BATCH)),
}


@pytest.mark.parametrize("carry", CARRIES.values(), ids=CARRIES)
def test_a_carry_of_another_layer(carry):
    """In a call and in a step; also a carry of one direction for a bidirectional layer."""
    graphdef, state = _split("Recurrent")

    def run(state, method, x):
        layer = nnx.merge(graphdef, state)
        return getattr(layer, method)(x, carry(layer))

    for method, x in (("__call__", X), ("step", X[:, 0])):
        with pytest.raises(UsageError, match=r"^Recurrent\('lstm'\) got carry.*; wanted .* for this input"):
            jax.eval_shape(functools.partial(run, method=method, x=x), state)
    both = make("Recurrent", bidirectional=True)
    with pytest.raises(UsageError, match=r"carry\[0\] LSTMCarry\(c, h\); wanted Directions\(forward, backward\)"):
        both(X, make("Recurrent").init_carry(BATCH))


def test_a_layer_may_start_afresh_where_its_carry_is_none():
    carry = jax.eval_shape(lambda: make("Recurrent").init_carry(BATCH))
    assert call("Recurrent", x_BTD=X, carry=(None, None))[1] == carry
    both = make("Recurrent", bidirectional=True)
    nothing = (Directions(None, None), None)
    graphdef, state = nnx.split(both)
    jax.eval_shape(lambda state: nnx.merge(graphdef, state)(X, nothing), state)


def test_a_step_of_another_width():
    graphdef, state = _split("Recurrent")
    for x, message in ((X, "x has 3 axes, not 2"), (X[:, 0, :2], f"x has D = 2, not {IN}")):
        refused([message], jax.eval_shape, lambda state, x=x: nnx.merge(graphdef, state).step(x), state)


def test_maps_that_do_not_fit():
    """Flat features, channels first and a map of another size, for a ConvLSTM."""
    layer = nnx.eval_shape(lambda: Recurrent("convlstm", 3, 4, spatial_shape=(4, 5), rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(layer)
    for shape, message in (
        ((2, 6, 3), "wanted x [B,T,X,Y,D]: x has 3 axes, not 5"),
        ((2, 6, 3, 4, 5), "x has X = 3, not 4"),
        ((2, 6, 4, 6, 3), "x has Y = 6, not 5"),
    ):
        x = np.ones(shape, np.float32)
        refused([message], jax.eval_shape, lambda state, x=x: nnx.merge(graphdef, state)(x), state)


def test_a_batch_of_padding_alone_leaves_running_averages():
    """Such a batch has neither mean nor variance: the averages would become NaN."""
    graphdef, state = nnx.split(nn.BatchNorm(IN, dtype=jnp.float32, rngs=nnx.Rngs(0)))

    @jax.jit
    def gradient(state):
        return jax.grad(lambda state: jnp.sum(nnx.merge(graphdef, state)(X, training=True, lengths=[0, 0])))(state)

    for leaf in jax.tree.leaves(gradient(state)):
        assert np.isfinite(leaf).all()
    assert not np.asarray(gradient(state)["running_mean"][...]).any()
