"""Kernels, in addition to the ops' tables: when they are chosen, what they reject, and transformations."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.gpu.compiled import COLLECTIVES, described
from xlstm_jax.errors import UsageError
from xlstm_jax.ops import kernels
from xlstm_jax.ops.mlstm import api as mlstm_api
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.mlstm.pallas import Chunk, Tile, Tiles
from xlstm_jax.ops.slstm import api as slstm_api
from xlstm_jax.ops.slstm import slstm


def arrays(time=33, keys=8, values=16, heads=2, batch=2):
    rng = np.random.default_rng(0)
    sizes = (heads, keys), (heads, keys), (heads, values), (heads,), (heads,)
    return [jnp.asarray(rng.standard_normal((batch, time, *size)), np.float32) for size in sizes]


def mlstm_gradient(*args, implementation=None):
    h, pullback = jax.vjp(lambda *a: mlstm(*a, implementation=implementation, chunk_size=16)[0], *args)
    return pullback(jnp.cos(h))


def slstm_gradient(x, r, implementation=None):
    y, pullback = jax.vjp(lambda *a: slstm(*a, implementation=implementation)[0], x, r)
    return pullback(jnp.cos(y))


def recurrent_arrays(width=8, batch=2):
    rng = np.random.default_rng(0)
    sizes = (batch, 9, 4, 2, width), (4, 2, width, width)
    return [jnp.asarray(rng.standard_normal(size), np.float32) for size in sizes]


@pytest.mark.parametrize(
    ("step", "args", "op", "on_cpu"),
    [(mlstm_gradient, arrays(), "mlstm", "chunkwise"), (slstm_gradient, recurrent_arrays(), "slstm", "scan")],
    ids=["mlstm", "slstm"],
)
def test_chosen_by_platform_when_lowered(step, args, op, on_cpu, monkeypatch):
    """The same function contains kernels for CUDA and none for CPU."""
    monkeypatch.setattr(kernels, "is_possible", lambda platform: platform == "cuda")
    for platform, wanted in (("cuda", "pallas"), ("cpu", on_cpu)):
        with described():
            text = jax.jit(step).trace(*args).lower(lowering_platforms=(platform,)).as_text(debug_info=True)
        names = {**mlstm_api.IMPLEMENTATIONS, **slstm_api.IMPLEMENTATIONS}
        assert [name for name in names if f"{op}_{name}" in text] == [wanted]


def test_wide_heads_take_no_kernel_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(kernels, "is_possible", lambda platform: platform == "cuda")
    x, r = recurrent_arrays(width=136)
    text = jax.jit(slstm).trace(x, r).lower(lowering_platforms=("cuda",)).as_text(debug_info=True)
    assert "slstm_scan" in text and "slstm_pallas" not in text
    with pytest.raises(UsageError, match=r"heads of 136 features in float32; it takes at most 128 .*='scan'"):
        slstm(x, r, implementation="pallas")
    with pytest.raises(UsageError, match=r"'pallas' got K 8, V 520; it takes heads of at most 512"):
        mlstm(*arrays(time=2, values=520), implementation="pallas")


@pytest.mark.parametrize("misfit", [{"held": 24}, {"turn": 8}, {"keys": 0}])
def test_tiles_that_do_not_fit(misfit):
    with pytest.raises(UsageError, match=r"Tile\(.* is not allowed; must be a power of two"):
        Tile(**misfit)


def test_tiles_that_do_not_divide_the_chunk():
    with pytest.raises(
        UsageError, match=r"Tiles\(chunk=96, outputs=Tile\(held=64\)\) is not allowed; held must divide"
    ):
        Tiles.alike(96, Tile(held=32, turn=32), outputs=Tile(held=64, turn=32))


def test_tiles_given():
    """Tiles of other sizes compute the same, with T and features padded to them."""
    args = arrays(time=70, keys=24, values=40)

    def run(implementation):
        return jax.jit(lambda *a: mlstm(*a, implementation=implementation))(*args)

    wanted = run("pallas")
    small = Tile(held=16, turn=32, keys=16, values=16)
    mixed = {"outputs": Tile(held=32, turn=16, keys=16, values=32), "k_gradient": Tile(held=32, keys=32, values=16)}
    for tiles in (Tiles.alike(32, small), Tiles.alike(64, Tile(held=32, turn=16)), Tiles.alike(64, small, **mixed)):
        for got, own in zip(jax.tree.leaves(run(tiles)), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(got, own, rtol=2e-4, atol=2e-5)


def test_no_program_of_a_tpu_races_with_a_copy():
    """jax's TPU interpreter runs copies and programs as a TPU may, and raises if one reads what another writes."""
    args = arrays(time=100, keys=24, values=40)

    def run(chunk):
        @jax.jit
        def both(*args):
            h, pullback = jax.vjp(lambda *a: mlstm(*a, implementation=chunk)[0], *args)
            return h, pullback(jnp.ones_like(h))

        return jax.tree.leaves(both(*args))

    for got, own in zip(run(Chunk(16, group=2, races=True)), run(Chunk(16, group=2)), strict=True):
        np.testing.assert_allclose(got, own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["mlstm", "slstm"])
def test_rematerialised_scan_and_donated_arguments(op):
    """Two layers in a scan with rematerialisation and donated inputs have the gradients of the plain form."""
    args = arrays(keys=16) if op == "mlstm" else recurrent_arrays()

    def loss(args, implementation):
        @jax.checkpoint
        def layer(x, _):
            if op == "mlstm":
                return mlstm(args[0], args[1], x, *args[3:], implementation=implementation, chunk_size=16)[0], None
            y = slstm(x, args[1], implementation=implementation)[0]
            return x + y[:, :, None], None

        return jnp.sum(jnp.sin(jax.lax.scan(layer, args[2 if op == "mlstm" else 0], length=2)[0]))

    plain = {"mlstm": "recurrent", "slstm": "scan"}[op]
    wanted = jax.jit(jax.grad(lambda args: loss(args, plain)))(args)
    got = jax.jit(jax.grad(lambda args: loss(args, "pallas")), donate_argnums=0)(args)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


MESHES = [  # sizes by axis, the kind of axes, and how batch and heads are split over them
    ({"data": 4, "tensor": 2}, AxisType.Auto, ("data", "tensor")),
    ({"data": 2, "fsdp": 2, "other": 2}, AxisType.Auto, (("data", "fsdp"), None)),
    ({"x": 4, "y": 2}, AxisType.Explicit, ("x", "y")),
]


@functools.cache
def on_one_device(op):
    """The step with kernels, its arguments, and its gradients."""
    step, args = (
        (mlstm_gradient, arrays(time=17, batch=4)) if op == "mlstm" else (slstm_gradient, recurrent_arrays(batch=4))
    )
    step = functools.partial(step, implementation="pallas")
    return step, args, jax.jit(step)(*args)


@pytest.mark.parametrize(
    ("sizes", "kind", "axes", "op"),
    [
        pytest.param(*given, op, marks=[pytest.mark.slow] * (op == "mlstm" or given is not MESHES[0]))
        for given in MESHES
        for op in ("mlstm", "slstm")
    ],
)
def test_over_a_mesh(op, sizes, kind, axes):
    """Values and gradients equal those of one device, nothing is gathered, and the gradient of r is summed."""
    mesh = jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(kind,) * len(sizes))
    batch, heads = axes
    step, args, wanted = on_one_device(op)
    specs = [PartitionSpec(batch, None, None, heads), PartitionSpec(None, heads)]
    if op == "mlstm":
        specs = [PartitionSpec(batch, None, heads)] * len(args)
    args = [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip(args, specs, strict=True)]
    with jax.set_mesh(mesh):
        program = jax.jit(step).lower(*args).compile()
        for got, own in zip(program(*args), wanted, strict=True):
            np.testing.assert_allclose(got, own, rtol=1e-4, atol=1e-5)
    assert {*re.findall(COLLECTIVES, program.as_text())} == ({"all-reduce"} if op == "slstm" else set())


@pytest.mark.parametrize("step, args", [(mlstm_gradient, arrays()), (slstm_gradient, recurrent_arrays())])
def test_no_kernels_elsewhere(step, args, monkeypatch):
    """Raises one line when lowered, not before: until then the platform is unknown."""
    monkeypatch.setattr(kernels, "is_possible", lambda platform: False)
    traced = jax.jit(functools.partial(step, implementation="pallas")).trace(*args)
    with pytest.raises(UsageError, match=r"kernel '[ms]lstm_\w+' is compiled for CUDA .* it does not run on tpu$"):
        traced.lower(lowering_platforms=("tpu",))


@pytest.mark.parametrize("implementation", ["pallas", None])
def test_kernels_of_a_tpu(implementation, monkeypatch):
    """With libtpu, a program for a TPU has its kernels, and one for the CPU does not; a single step is plain."""
    monkeypatch.setattr(kernels, "is_possible", lambda platform: platform == "tpu")

    def names(platform, **sizes):
        args = arrays(**sizes)
        traced = jax.jit(lambda *a: mlstm_gradient(*a, implementation=implementation)).trace(*args)
        return {*re.findall(r"mlstm_tpu_\w+(?=\")", traced.lower(lowering_platforms=(platform,)).as_text())}

    assert names("tpu") == {"mlstm_tpu_forward", "mlstm_tpu_backward"}
    assert names("tpu", time=1) == set()
    if implementation is None:
        assert names("cpu") == set()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("_capability", lambda: 7.5, "needs a GPU of compute capability 8.0 or more .* has 7.5"),
        ("TRITON", "jax.nowhere", "needs a jax"),
    ],
)
def test_no_kernels_on_this_machine(name, value, why, monkeypatch):
    """A named implementation says why; by default others run."""
    monkeypatch.setattr(kernels, "is_possible", lambda platform: platform == "cuda")
    monkeypatch.setattr(kernels, name, value)
    for op, args in ((mlstm, arrays()), (slstm, recurrent_arrays())):
        with pytest.raises(UsageError, match=f"implementation 'pallas' {why}"):
            op(*args, implementation="pallas")
        text = jax.jit(op).trace(*args).lower(lowering_platforms=("cuda",)).as_text(debug_info=True)
        assert "_pallas" not in text
