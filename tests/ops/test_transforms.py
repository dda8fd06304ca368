"""Every op, implementation and cell inside a caller's `jax.shard_map`, and its derivatives in both modes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.ops.meshes import mesh
from tests.transforms import BATCH, Case, check, rows
from xlstm_jax.autodiff import forward_mode
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops import kernels, linear_attention
from xlstm_jax.ops.attention import attention
from xlstm_jax.ops.conv import causal_conv
from xlstm_jax.ops.mlstm import api as mlstm_api
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.recurrence import IMPLEMENTATIONS as RECURRENCE_IMPLEMENTATIONS
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.ops.rwkv import rwkv6
from xlstm_jax.ops.slstm import api as slstm_api
from xlstm_jax.ops.slstm import slstm
from xlstm_jax.ops.tree import forest, tree_recurrence
from xlstm_jax.testing.examples import examples_of

T, H, K = 5, 2, 3
QKV, GATE = ((T, H, K),) * 3, (T, H)

pytestmark = pytest.mark.usefixtures("x64", "rolled")


def masks(batch: int) -> dict:
    """A reset and padding that are the same for all rows, so not specific to a device."""
    reset_BT = jnp.broadcast_to(jnp.arange(T) == 2, (batch, T))
    return {"reset_BT": reset_BT, "lengths_B": jnp.full((batch,), T - 1)}


def mlstm_case(name):
    def run(*args):
        h, state = mlstm(*args, **masks(args[0].shape[0]), implementation=name, chunk_size=2)
        return h, state.C, state.n

    return Case(run, rows(0, *QKV, GATE, GATE))


def slstm_case(name):
    (x,), (r,) = rows(0, (T, 4, H, K)), rows(1, (2, H, K, K))
    return Case(
        lambda x, r: slstm(x, r, **masks(x.shape[0]), implementation=name),
        (x,),
        (r.reshape(4, H, K, K),),
    )


def cell_case(name, implementation=None):
    example = examples_of(name)[0]

    def run(x, params):
        return recurrence(example.cell, params, x, **masks(x.shape[0]), implementation=implementation)

    # newton: to its tolerance
    return Case(run, (example.inputs(T, np.float64),), (example.params(np.float64),), limit=1e-9)


def tree_case(name):
    example = examples_of(name)[0]
    shape = forest(np.array([[-1, -1, -1], [-1, -1, -1], [0, 1, -1], [2, -1, -1]]))

    def run(x_BND, params):
        return jax.vmap(lambda x: tree_recurrence(example.cell, params, x, shape))(x_BND)

    return Case(
        run, (jnp.stack([example.nodes(4, np.float64, n) for n in range(BATCH)]),), (example.params(np.float64),)
    )


def rwkv_case():
    (u,) = rows(1, (K,))
    return Case(lambda r, k, v, w, u: rwkv6(r, k, v, -jnp.exp(w), u, **masks(r.shape[0])), rows(0, *QKV, QKV[0]), (u,))


def attention_case():
    def run(*args):
        with jax.numpy_dtype_promotion("standard"):  # needed by jax.nn.dot_product_attention in float64
            y, cache = attention(*args, window=3, **masks(args[0].shape[0]))
        return y, cache.k, cache.v

    # The precision of jax.nn.dot_product_attention in float64.
    return Case(run, rows(0, (T, 4, 2), (T, 2, 2), (T, 2, 2)), limit=1e-6)


def conv_case():
    kernel, bias = np.random.default_rng(1).standard_normal((3, 4)), jnp.ones(4)
    return Case(lambda x, *w: causal_conv(x, *w, **masks(x.shape[0])), rows(0, (T, 4)), (jnp.asarray(kernel), bias))


def linear_case(name):
    op = getattr(linear_attention, name)
    run = {
        "retention": lambda *a: op(*a, **masks(a[0].shape[0])),
        "gated_linear_attention": lambda q, k, v, f: op(q, k, v, -jnp.exp(f), **masks(q.shape[0])),
        "ssd": lambda x, dt, b, c, a: op(x, jnp.exp(dt), -jnp.exp(a), b, c, **masks(x.shape[0])),
    }[name]
    shapes = {"retention": QKV, "gated_linear_attention": (*QKV, GATE), "ssd": (QKV[0], GATE, (T, 1, K), (T, 1, K))}
    return Case(run, rows(0, *shapes[name]), (jnp.linspace(-1, 1, H),) if name == "ssd" else ())


def first_names(kind: str) -> list[str]:
    """One name for each cell of that kind."""
    return list({CELLS.get(name): name for name in reversed(CELLS.names()) if CELLS.get(name).kind == kind}.values())


def forms(op: str, case, implementations) -> dict:
    """One case for each implementation without kernels."""
    names = [name for name in implementations if name not in ("pallas", "cudnn")]
    return {f"{op} {name}": functools.partial(case, name) for name in names}


CASES = {
    **forms("mlstm", mlstm_case, mlstm_api.IMPLEMENTATIONS),
    **forms("slstm", slstm_case, slstm_api.IMPLEMENTATIONS),
    "ssd": functools.partial(linear_case, "ssd"),
    "rwkv6": rwkv_case,
    "attention": attention_case,
    "causal_conv": conv_case,
    "tree": functools.partial(tree_case, "treelstm_childsum"),
    **forms("lstm", functools.partial(cell_case, "lstm"), RECURRENCE_IMPLEMENTATIONS.keys() - {"associative"}),
    "minlstm associative": functools.partial(cell_case, "minlstm", "associative"),
}
# Other names for the same code as above.
ALIKE = {
    **{name: functools.partial(cell_case, name) for name in first_names("sequence")},
    **{name: functools.partial(tree_case, name) for name in first_names("tree")},
    **{name: functools.partial(linear_case, name) for name in ("retention", "gated_linear_attention")},
}


# One form of an op, and one op of a kind, for the quick tests.
QUICK = ("attention", "causal_conv", "lstm newton", "lstm scan", "mlstm chunkwise", "rwkv6", "slstm scan", "tree")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in sorted(CASES)]
)
def test_op(name):
    check(CASES[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_alike(name):
    check(ALIKE[name](), values=False)


def mlstm_gradient(q, k, v, i, f, implementation=None):
    return jax.grad(lambda q: jnp.sum(mlstm(q, k, v, i, f, implementation=implementation)[0]))(q)


def slstm_gradient(x, r, implementation=None):
    return jax.grad(lambda x: jnp.sum(slstm(x, r, implementation=implementation)[0]))(x)


@pytest.mark.parametrize(("gradient", "case"), [(mlstm_gradient, mlstm_case), (slstm_gradient, slstm_case)])
def test_kernels(gradient, case, monkeypatch):
    """Inside `jax.shard_map`, CUDA programs use them; named, they raise if they cannot run."""
    monkeypatch.setattr(kernels, "is_possible", lambda platform: platform == "cuda")
    args = [jnp.asarray(a, jnp.float32) for a in (*case(None).rows, *case(None).shared)]
    specs = tuple(P() if args[-1].ndim == 4 and n == 1 else P("data") for n in range(len(args)))

    def inside(implementation=None, **options):
        run = functools.partial(gradient, implementation=implementation)
        return jax.jit(jax.shard_map(run, mesh=mesh(data=BATCH), in_specs=specs, out_specs=P("data"), **options)).trace(
            *args
        )

    with jax.enable_x64(False):
        assert "pallas_call" in str(inside().jaxpr)
        inside().lower(lowering_platforms=("cpu",))
        with pytest.raises(UsageError, match="check_vma=False"):
            inside("pallas").lower(lowering_platforms=("cpu",))
        inside("pallas", check_vma=False).lower(lowering_platforms=("cpu",))
        with forward_mode():
            assert "pallas_call" not in str(inside().jaxpr)
            with pytest.raises(UsageError, match=r"forward_mode does not cover .* kernels.*; use implementation="):
                inside("pallas")


@pytest.mark.parametrize("name", [None, *mlstm_api.IMPLEMENTATIONS])
def test_forward_mode_elsewhere_names_what_has_it(name):
    run, args = functools.partial(mlstm, implementation=name), mlstm_case(None).rows
    derivative = jax.jit(lambda *args: jax.jvp(run, args, args))
    if name == "recurrent":
        derivative.lower(*args)
        return
    with pytest.raises(UsageError, match=r"implementation='recurrent'.*config\.model\.forward_mode=True"):
        derivative.lower(*args)
