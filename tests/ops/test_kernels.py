"""Kernels beside the ops' own tables: where they are chosen, what they refuse, and the transformations they stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gpu.compiled import described
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.mlstm import api as mlstm_api
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.mlstm.pallas import Tiles, pallas
from xlstm_jax.ops.slstm import api as slstm_api
from xlstm_jax.ops.slstm import slstm


def arrays(time=33, keys=8, values=16, heads=2):
    rng = np.random.default_rng(0)
    sizes = (heads, keys), (heads, keys), (heads, values), (heads,), (heads,)
    return [jnp.asarray(rng.standard_normal((2, time, *size)), np.float32) for size in sizes]


def mlstm_gradient(*args, implementation=None):
    h, pullback = jax.vjp(lambda *a: mlstm(*a, implementation=implementation, chunk_size=16)[0], *args)
    return pullback(jnp.cos(h))


def slstm_gradient(x, r, implementation=None):
    y, pullback = jax.vjp(lambda *a: slstm(*a, implementation=implementation)[0], x, r)
    return pullback(jnp.cos(y))


def recurrent_arrays(width=8):
    rng = np.random.default_rng(0)
    sizes = (2, 9, 4, 2, width), (4, 2, width, width)
    return [jnp.asarray(rng.standard_normal(size), np.float32) for size in sizes]


@pytest.mark.parametrize(
    ("step", "args", "op", "on_cpu"),
    [(mlstm_gradient, arrays(), "mlstm", "chunkwise"), (slstm_gradient, recurrent_arrays(), "slstm", "scan")],
    ids=["mlstm", "slstm"],
)
def test_chosen_by_platform_when_lowered(step, args, op, on_cpu, monkeypatch):
    """The same function is made of kernels for CUDA, and of none for CPU."""
    for api in (mlstm_api, slstm_api):
        monkeypatch.setattr(api, "cuda_is_possible", lambda: True)
    for platform, wanted in (("cuda", "pallas"), ("cpu", on_cpu)):
        with described():
            text = jax.jit(step).trace(*args).lower(lowering_platforms=(platform,)).as_text(debug_info=True)
        names = {**mlstm_api.IMPLEMENTATIONS, **slstm_api.IMPLEMENTATIONS}
        assert [name for name in names if f"{op}_{name}" in text] == [wanted]


def test_wide_heads_take_no_kernel_unless_it_is_named(monkeypatch):
    monkeypatch.setattr(slstm_api, "cuda_is_possible", lambda: True)
    x, r = recurrent_arrays(width=136)
    text = jax.jit(slstm).trace(x, r).lower(lowering_platforms=("cuda",)).as_text(debug_info=True)
    assert "slstm_scan" in text and "slstm_pallas" not in text
    with pytest.raises(UsageError, match=r"heads of 136 features in float32; it takes at most 128 .*='scan'"):
        slstm(x, r, implementation="pallas")
    with pytest.raises(UsageError, match=r"'pallas' got K 8, V 520; it takes heads of at most 512"):
        mlstm(*arrays(time=2, values=520), implementation="pallas")


@pytest.mark.parametrize("misfit", [{"held": 24}, {"turn": 8}, {"keys": 0}, {"chunk": 96, "held": 64}])
def test_tiles_that_do_not_fit(misfit):
    with pytest.raises(UsageError, match=r"Tiles\(.* is not allowed; "):
        Tiles(**misfit)


def test_tiles_given():
    """Other sizes of every kind give the same, T and features padded to them."""
    *qkv, i, f = arrays(time=70, keys=24, values=40)
    log_f = jax.nn.log_sigmoid(f)
    start = mlstm_api.zero_state((2,), 2, 24, 40)
    options = {"chunk_size": None, "stabilise": True, "normalize": True, "eps": 0.0}

    def run(tiles):
        return jax.jit(lambda *a: pallas(*a, None, tiles=tiles, **options))(*qkv, i, log_f, start)

    wanted = run(None)
    for tiles in (Tiles(chunk=32, held=16, turn=32, keys=16, values=16), Tiles(chunk=64, held=32, turn=16)):
        for got, own in zip(jax.tree.leaves(run(tiles)), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(got, own, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("op", ["mlstm", "slstm"])
def test_rematerialised_scan_and_donated_arguments(op):
    """Two layers by a scan with rematerialisation, their inputs given away: the gradients of the plain form."""
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
