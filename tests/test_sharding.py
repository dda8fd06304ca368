"""Functions run on each device's own part: which mesh axes split which axes, and that values do not change."""

import logging
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.gpu.compiled import COLLECTIVES
from xlstm_jax import sharding
from xlstm_jax.sharding import on_each_device

SPECS = (P("batch", None, "heads"), P(None, "heads"), P("batch"))


def arrays(batch=8, heads=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 5, heads), np.float32), rng.standard_normal((3, heads), np.float32)


def step(x_BTH, w_KH):
    """Sizes as each device sees them, and a result of the arguments; the last one is left out."""

    def run(x, w, nothing):
        assert nothing is None
        return jnp.full((x.shape[0], x.shape[2]), x.shape[0] * 100 + x.shape[2]), jnp.cumsum(x, 1) * w.sum(0)[
            None, None
        ]

    return on_each_device(run, (x_BTH, w_KH, None), SPECS, (P("batch", "heads"), P("batch", None, "heads")))


def over(mesh, args, specs):
    """The size that each device has, the result, and the program's collectives, of jitted `step`."""
    args = [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip(args, specs, strict=True)]
    compiled = jax.jit(step).lower(*args).compile()
    seen, y = compiled(*args)
    return int(np.asarray(seen)[0, 0]), np.asarray(y), {*re.findall(COLLECTIVES, compiled.as_text())}


@pytest.mark.parametrize(
    ("sizes", "specs", "part"),
    [
        ({"data": 8}, (P("data"), P()), (1, 4)),
        ({"data": 2, "fsdp": 2, "tensor": 2}, (P(("data", "fsdp"), None, "tensor"), P(None, "tensor")), (2, 2)),
        ({"batch": 4, "model": 2}, (P("batch", None, "model"), P(None, "model")), (2, 2)),
        ({"tensor": 4, "context": 2}, (P(None, None, "tensor"), P(None, "tensor")), (8, 1)),
    ],
)
def test_parts(sizes, specs, part):
    """Known names split the batch and the heads; nothing is gathered, in any context."""
    mesh = jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
    seen, y, collectives = over(mesh, arrays(), specs)
    assert seen == part[0] * 100 + part[1] and not collectives
    np.testing.assert_allclose(y, step(*map(jnp.asarray, arrays()))[1], rtol=1e-6)


def test_sizes_that_do_not_divide_are_gathered():
    """Six sequences on four devices: values are the same, and each device sees all sequences."""
    mesh = jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    seen, y, _ = over(mesh, arrays(batch=6), (P(None, None, "tensor"), P()))
    assert seen == 602
    np.testing.assert_allclose(y, step(*map(jnp.asarray, arrays(batch=6)))[1], rtol=1e-6)


def test_explicit_axes_of_any_name():
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    seen, y, collectives = over(mesh, arrays(), (P("x", None, "y"), P(None, "y")))
    assert seen == 202 and not collectives
    np.testing.assert_allclose(y, step(*map(jnp.asarray, arrays()))[1], rtol=1e-6)


def test_inside_a_map_it_is_the_function_alone():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"), check_vma=False)
    seen, y = jax.jit(mapped)(*arrays())
    assert int(seen[0, 0]) == 104
    np.testing.assert_allclose(y, step(*map(jnp.asarray, arrays()))[1], rtol=1e-6)


def test_unknown_axes_are_named_in_a_warning(caplog):
    sharding._warn.cache_clear()
    mesh = jax.make_mesh((4, 2), ("data", "rows"), axis_types=(AxisType.Auto,) * 2)
    with caplog.at_level(logging.WARNING, logger="xlstm_jax.sharding"):
        assert over(mesh, arrays(), (P("data"), P()))[0] == 204
    assert [record.getMessage() for record in caplog.records] == [
        "mesh axes rows are unknown: kernels gather arrays sharded over them; known axes are data, fsdp, batch, "
        "tensor, heads, model, context"
    ]
