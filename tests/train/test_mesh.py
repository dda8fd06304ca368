"""Training over a mesh is training on one device: losses, what the devices tell each other, where arrays lie."""

import functools
import math

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.tasks.examples import write_text
from tests.train.meshes import MESHES, MODELS, TIME, collectives, compiled, run_of, trained
from xlstm_jax.errors import UsageError
from xlstm_jax.sharding import MeshConfig, make_mesh, parameter_axes, spec
from xlstm_jax.train.step import abstract_state, init_state, make_state


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt")


@pytest.fixture(scope="module")
def alone(text):
    """Each model on one device."""
    found = {}

    def get(model):
        if model not in found:
            found[model] = trained(run_of(text, model, {}))
        return found[model]

    return get


FAST = {("LSTM", "1x8x1x1")}
THREE = ("8x1x1x1", "1x8x1x1", "2x2x2x1")
CASES = [("xLSTM", mesh) for mesh in MESHES] + [(model, mesh) for model in ("LSTM", "Transformer") for mesh in THREE]
CASES += [("paper's xLSTM", "2x2x2x1")]


@pytest.mark.parametrize(
    ("model", "mesh"), [pytest.param(*case, marks=() if case in FAST else pytest.mark.slow) for case in CASES]
)
def test_losses_are_those_of_one_device(text, alone, model, mesh):
    losses, params = trained(run_of(text, model, MESHES[mesh]))
    wanted, wanted_params = alone(model)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(wanted_params), strict=True):
        # Adam divides by the gradient's own size: where that is rounding alone, so is the step.
        assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(b) + 1e-5 * math.sqrt(b.size)


@pytest.mark.slow
def test_the_carry_of_streams_too(text):
    runs = [run_of(text, "LSTM", mesh, sampling="stream") for mesh in ({}, {"data": 2, "fsdp": 4})]
    np.testing.assert_allclose(*(trained(run)[0] for run in runs), rtol=1e-5)


@pytest.mark.slow
def test_scanned_layers_too(text, monkeypatch):
    """Over a mesh, whose table knows the axis of layers, and beside the same blocks one by one."""
    monkeypatch.setitem(MODELS, "deep", ("rxrx", "rms"))
    scanned = run_of(text, "deep", {"data": 2, "fsdp": 2, "tensor": 2}, scan_layers=True)
    np.testing.assert_allclose(trained(scanned)[0], trained(run_of(text, "deep", {}))[0], rtol=1e-5)
    (group,) = abstract_state(scanned).params["blocks"].values()
    places = {leaf.sharding.spec for leaf in jax.tree.leaves(group)}
    assert {P(None, "fsdp", "tensor"), P(None, "tensor", "fsdp")} & places, places


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_activations_stay_where_they_are(text, model):
    """Over data, gradients are summed and that is all; over fsdp parameters are gathered, and nothing else is."""
    summed = collectives(compiled(run_of(text, model, {"data": 8})))
    assert summed
    for kind, found in summed:
        assert kind == "all-reduce" and not any(TIME in shape for shape in found), found
    run, gathered = run_of(text, model, {"fsdp": 8}), 0
    shapes = {leaf.shape for leaf in jax.tree.leaves(abstract_state(run).params)}
    for kind, found in collectives(compiled(run)):
        assert kind in ("all-reduce", "all-gather", "reduce-scatter"), (kind, found)
        assert not any(TIME in shape for shape in found), (kind, found)
        gathered += kind == "all-gather"
        if kind == "all-gather":
            assert shapes.issuperset(found), found
    assert gathered


@pytest.mark.parametrize("model", ["Transformer", pytest.param("xLSTM 7B", marks=pytest.mark.slow)])
def test_tensor_parallel_sums_what_each_branch_gives(text, model, monkeypatch):
    """Two sums of activations a block forward, none of them gathered, exchanged or sent on."""
    monkeypatch.setitem(MODELS, "xLSTM 7B", ("xx", "rms"))
    found = collectives(compiled(run_of(text, model, {"tensor": 4})))
    activation = (16, TIME, 32)
    assert sum(kind == "all-reduce" and activation in shapes for kind, shapes in found) >= 4
    for kind, shapes in found:
        assert kind == "all-reduce" or all(len(shape) < 2 for shape in shapes), (kind, shapes)


def test_state_is_made_where_it_lies(text):
    """An eighth of every large parameter, and of what the optimizer keeps of it, on each device from the start."""
    run = run_of(text, "xLSTM", {"fsdp": 8})
    state = init_state(run)
    large = [leaf for leaf in jax.tree.leaves((state.params, state.opt_state)) if leaf.ndim > 1]
    assert large
    for leaf in large:
        assert leaf.addressable_shards[0].data.size * 8 == leaf.size
    program = made_in_place(run)
    one = run_of(text, "xLSTM", {})
    whole = made_in_place(one)
    assert program.memory_analysis().output_size_in_bytes < 0.2 * whole.memory_analysis().output_size_in_bytes


def made_in_place(run):
    """The program that makes the state before the first step."""
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(run))
    return jax.jit(functools.partial(make_state, run), out_shardings=places).lower().compile()


def test_specs():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    assert mesh.shape == {"data": 2, "fsdp": 2, "tensor": 2, "context": 1}
    assert spec(("batch", "time"), (8, 3), mesh) == P(("data", "fsdp"), None)
    assert spec(("batch",), (2,), mesh) == P(("data",))  # what does not divide is left whole
    assert spec(("embed", "inner"), (4, 6), mesh) == P(("fsdp",), ("tensor",))
    assert spec(("embed", "inner"), (4, 6), mesh, without="fsdp") == P(None, ("tensor",))
    assert spec(("inner", "vocab"), (4, 6), mesh) == P(("tensor",), None)  # once an array
    assert parameter_axes((3, 5), None) == (None, "embed") and parameter_axes((5,), None) == (None,)
    assert parameter_axes((), None) == () and parameter_axes((3, 5), ("inner", None)) == ("inner", None)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"data": 3, "fsdp": 4}, "data 3 x fsdp 4 x tensor 1 x context 1 does not fit the 8 devices"),
        ({"data": 0, "fsdp": 3}, "does not fit the 8 devices"),
        ({"data": 0, "tensor": 16}, "does not fit the 8 devices"),
        ({"fsdp": 0}, "mesh.fsdp 0 is not allowed; must be at least 1"),
        ({"data": 5}, "data.batch_size 16 is not a multiple of the 5 devices along data x fsdp"),
    ],
)
def test_meshes_that_cannot_be(text, mesh, message):
    with pytest.raises(UsageError, match=message) as caught:
        run_of(text, "LSTM", mesh)
    assert "\n" not in str(caught.value)


def test_all_devices_by_default(text):
    run = run_of(text, "LSTM", {"data": 0, "tensor": 2})
    assert dict(run.placement.mesh.shape) == {"data": 4, "fsdp": 1, "tensor": 2, "context": 1}
