"""Sequences split over devices: values, gradients, resets, lengths and communication between devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.errors import measured, reference, run, scales
from tests.ops.meshes import collectives, mesh
from tests.ops.mlstm_cases import Case, cotangents, inputs
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.conv import causal_conv
from xlstm_jax.ops.linear_attention import retention
from xlstm_jax.ops.mlstm import context, mlstm
from xlstm_jax.ops.recurrence import recurrence

pytestmark = pytest.mark.usefixtures("rolled")

slow = pytest.mark.slow
TIME = 48
# At the borders of 2, 4 and 8 parts, next to them, and inside.
RESETS = ((0, 0), (0, 12), (0, 13), (0, 20), (1, 6), (1, 23), (1, 24))
VALUES = [
    {"reset": RESETS, "lengths": (TIME, 31)},
    {"reset": "none", "lengths": (18, 0)},
    {"reset": ((0, 30), (1, 47))},
    {"gates": "60", "reset": ((1, 24),)},
    {"gates": "forget", "zero": "k"},
]
MESHES = [{"context": 8}, {"context": 2}, {"data": 2, "context": 4}, {"fsdp": 1, "tensor": 2, "context": 4}]
OPTIONS = [{"eps": 1e-6}, {"input_gate": "sigmoid"}, {"forget_gate": "exp"}, {"dtype": "bfloat16"}]
FORMS = ["recurrent", "parallel", "chunkwise", "associative", "pallas"]


def split_case(**changes) -> Case:
    return Case(**{"time": TIME, "chunk": 5, "state": "normal", **changes})


def held(case: Case, implementation: str | None, sizes: dict) -> None:
    """Outputs, final state and gradients on a mesh, against the oracle and the float64 recurrent form on one device."""
    for which in ("h", "state", "both"):
        reference(case, which), scales(case, which)
    with jax.set_mesh(mesh(**sizes)):
        for entry in measured(case, implementation):
            assert entry.error <= entry.allowed, f"{entry.part} {entry.name}, loss on {entry.which}"


@pytest.mark.parametrize("values", VALUES, ids=repr)
@pytest.mark.parametrize("sizes", [MESHES[0], *(pytest.param(sizes, marks=slow) for sizes in MESHES[1:])], ids=repr)
def test_mlstm(sizes, values):
    """Includes all gradients, of losses on h, on the final state, and on both."""
    held(split_case(**values), "chunkwise", sizes)


@slow
@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_mlstm_options(options):
    held(split_case(**options, **VALUES[0]), "chunkwise", {"data": 2, "context": 4})


@slow
@pytest.mark.parametrize("implementation", FORMS)
def test_each_device_runs_the_form(implementation):
    held(split_case(**VALUES[0]), implementation, {"data": 2, "context": 4})


@slow
def test_parts_of_several_pieces(monkeypatch):
    """A device's summary is computed piece by piece, with a shorter last piece."""
    monkeypatch.setattr(context, "PIECE", 5)
    held(split_case(heads=1, **VALUES[0]), "chunkwise", {"context": 4})


@pytest.mark.parametrize("at", [24, 27])
def test_nothing_passes_a_reset(at):
    """At a device's border or inside: outputs from there on do not depend on earlier steps, in values or gradients."""
    case = split_case(reset=((0, at), (1, at)))
    *arrays, state, reset, lengths = inputs(case)
    dh, dC, dn = map(np.array, cotangents(case, "both"))
    dh[:, :at] = 0
    other = [np.concatenate([a[:, at - 1 :: -1] + 3, a[:, at:]], axis=1) for a in arrays]
    with jax.set_mesh(mesh(context=8)):
        # Made like the arrays they replace, so that they share the program.
        weights, other, start = jax.tree.map(jnp.asarray, ((dh, dC, dn), other, jax.tree.map(np.negative, state)))
        outputs, gradients = run(case, "chunkwise", "both", weights=weights)
        changed, _ = run(case, "chunkwise", "both", (*other, start, reset, lengths))
    for name, gradient in gradients.items():
        assert not (gradient if name.startswith("state") else gradient[:, :at]).any(), name
    assert np.abs(gradients["v"][:, at:]).max() > 0.1
    np.testing.assert_array_equal(changed["h"][:, at:], outputs["h"][:, at:])


def loss_of(function, weights):
    """Jitted (args, masks) -> the loss's value and gradients, and the outputs."""

    def loss(args, masks):
        outputs = jax.tree.leaves(function(args, masks))
        return sum(jnp.sum(jnp.sin(w * a)) for a, w in zip(outputs, weights, strict=True)), outputs

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def assert_split_equals_whole(function, args, masks, sizes):
    """Compares outputs, and gradients of a loss on all of them, in float64."""
    rng = np.random.default_rng(3)
    shapes = jax.tree.leaves(jax.eval_shape(function, args, masks))
    weights = [jnp.asarray(rng.standard_normal(leaf.shape)) for leaf in shapes]
    wanted = loss_of(function, weights)(args, masks)
    with jax.set_mesh(mesh(**sizes)):
        got = loss_of(function, weights)(args, masks)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def masks(time: int) -> dict:
    """Resets and lengths of four sequences, some of which end inside a device's part or at its end."""
    reset = np.zeros((4, time), bool)
    reset[0, [3, 4, 8]] = reset[1, [0, time // 2]] = reset[2, time - 1] = True
    return {"reset_BT": reset, "lengths_B": np.array([time, 5, time // 2, 0], np.int32)}


def normal(*shape):
    return jnp.asarray(np.random.default_rng(4).standard_normal(shape))


@pytest.mark.parametrize(("width", "count"), [(4, 4), (6, 8), pytest.param(1, 2, marks=slow)], ids=repr)
@pytest.mark.parametrize("given", [True, pytest.param(False, marks=slow)], ids=["resets and lengths", "neither"])
def test_convolution(given, width, count, x64):
    """Includes kernels that reach back over several devices."""
    time, features = 16, 4

    def function(args, given):
        x, kernel, bias, carry = args
        y, last = causal_conv(x, kernel, bias, carry_BWD=carry, **given)
        lengths = given.get("lengths_B", np.full(4, time, np.int32))
        inside = np.arange(time, dtype=np.int32)[None] < lengths[:, None]
        return jnp.where(inside[..., None], y, 0), last

    args = (normal(4, time, features), normal(width, features), normal(features), normal(4, width - 1, features))
    assert_split_equals_whole(function, args, masks(time) if given else {}, {"tensor": 8 // count, "context": count})


@pytest.mark.parametrize("cell", ["minlstm", pytest.param("mingru", marks=slow), pytest.param("rglru", marks=slow)])
@pytest.mark.parametrize("given", [True, pytest.param(False, marks=slow)], ids=["resets and lengths", "neither"])
def test_linear_cells(given, cell, x64):
    """With a given start value, to which resets return."""
    cell, time = CELLS.get(cell), 16
    config = cell.Config(4, 4)
    params = jax.tree.map(lambda a: a.astype(jnp.float64), cell.init(jax.random.key(0), config))
    carry = jax.tree.map(lambda a: normal(*a.shape), cell.init_carry(config, (4,)))

    def function(args, given):
        params, x, carry, start = args
        return recurrence(cell, params, x, carry=carry, start=start, return_carries=True, **given)

    args = (params, normal(4, time, 4), carry, jax.tree.map(lambda a: a + 1, carry))
    assert_split_equals_whole(function, args, masks(time) if given else {}, {"data": 2, "context": 4})


@slow
def test_retention(x64):
    """Represents all ops that run on the mLSTM's core."""

    def function(args, given):
        q, k, v, state = args
        return retention(q, k, v, state=state, **given)

    args = (normal(4, 16, 2, 3), normal(4, 16, 2, 3), normal(4, 16, 2, 5), normal(4, 2, 3, 5))
    assert_split_equals_whole(function, args, masks(16), {"data": 2, "context": 4})


def mlstm_step(args):
    """Gradients of all arguments, from h and the final state."""

    def loss(args):
        *arrays, state = args
        h, state = mlstm(*arrays, state=state)
        return jnp.sum(h) + jnp.sum(state.C)

    return jax.grad(loss)(args)


def compiled_step(time: int, count: int):
    """`mlstm_step` for `count` devices, with sequences placed on the devices of their steps."""
    *arrays, state = (jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), inputs(split_case(time=time))))[:6]
    with jax.set_mesh(split := mesh(context=count)):
        sharding = jax.sharding.NamedSharding(split, jax.sharding.PartitionSpec(None, "context"))
        placed = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding) for a in arrays]
        return jax.jit(mlstm_step).lower((*placed, state)).compile()


def test_messages_do_not_grow_with_time():
    """Only states are sent, by permutations, and the final one by a sum; as much for T as for 2 T."""
    one, two = (collectives(compiled_step(time, 4)) for time in (TIME, 2 * TIME))
    assert one == two
    assert {kind for kind, _ in one} == {"collective-permute", "all-reduce"}
    assert {types for kind, types in one if kind == "collective-permute"} == {
        "f32[2,2,8,16]",
        "f32[2,2,8]",
        "f32[2,2]",
        "pred[2,2]",
    }
    assert not any(str(size) in types for _, types in one for size in (TIME, TIME // 4))


@slow
def test_memory_halves_when_devices_double():
    two, four, eight = (compiled_step(65_536, count).memory_analysis().temp_size_in_bytes for count in (2, 4, 8))
    assert four < 0.6 * two and eight < 0.6 * four


def test_lengths_that_do_not_divide():
    """Raises one line; a single step runs on every device."""
    arrays = inputs(Case(time=7))[:5]
    step = [a[:, :1] for a in arrays]
    wanted, _ = mlstm(*step)
    with jax.set_mesh(mesh(context=4)):
        with pytest.raises(UsageError, match=r"mlstm got 7 steps for the 4 devices along .*multiple of 4") as caught:
            mlstm(*arrays)
        got, _ = mlstm(*step)
    assert "\n" not in str(caught.value)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_cases_cover_borders():
    """Every mesh has resets at the first and last step of a part, and a length that ends inside a part."""
    resets = {t for _, t in RESETS}
    for count in (2, 4, 8):
        part = TIME // count
        assert any(t % part == 0 for t in resets - {0}) and any(t % part == part - 1 for t in resets)
        assert 31 % part
    assert all(field in {f.name for f in dataclasses.fields(Case)} for values in VALUES for field in values)
