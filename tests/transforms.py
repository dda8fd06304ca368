"""What every op, cell over time and block stands: the caller's own `jax.shard_map`, and derivatives in both modes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from tests.ops.meshes import mesh
from xlstm_jax.autodiff import forward_mode
from xlstm_jax.testing.compare import assert_close, dot, normal_like

BATCH = 2  # a row a device
# Accuracy is judged in float64: the fastest compilation will do.
FAST = {"xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Case:
    """`run(*rows, *shared)` gives a tree of arrays [B, ...]; rows are arrays [B, ...], shared ones have no batch."""

    run: Callable
    rows: tuple
    shared: tuple = ()
    limit: float = 1e-11


def check(case: Case, *, values: bool = True) -> None:
    """In one program: values and gradients inside `jax.shard_map` are those outside, and <J v, w> = <v, J^T w>.

    J v is of `forward_mode`, inside `jax.shard_map` too. Without `values` nothing is compiled: it is only seen that
    jax takes all of it, for cases whose code is that of others.
    """
    args = (*case.rows, *case.shared)
    along, split = normal_like(args, 1), P("data")
    specs = (*[split] * len(case.rows), *[P()] * len(case.shared))

    def reverse(args):
        y, pullback = jax.vjp(case.run, *args)
        weights = jax.tree.map(jnp.cos, y)
        return y, weights, pullback(weights)

    def inside(args, along):
        with forward_mode():
            pushed = jax.jvp(case.run, args, along)
        return reverse(args), pushed

    mapped = jax.shard_map(
        inside, mesh=mesh(data=BATCH), in_specs=(specs, specs), out_specs=((split, split, specs), split)
    )
    if not values:
        jax.jit(mapped).lower(args, along)
        return
    program = jax.jit(lambda args, along: (reverse(args), mapped(args, along)))
    (y, weights, gradients), (got, (same, pushed)) = program.lower(args, along).compile(FAST)(args, along)
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients))
    assert_close(got, (y, weights, gradients), case.limit)
    assert_close(same, y, case.limit)
    there, back = dot(pushed, weights), dot(gradients, along)
    assert abs(there - back) <= case.limit * max(1.0, abs(back))


def rows(seed: int, *shapes: tuple[int, ...]) -> tuple[Any, ...]:
    """Normal arrays [B, *shape] in float64."""
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.standard_normal((BATCH, *shape))) for shape in shapes)
