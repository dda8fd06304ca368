"""Transformations that every op, recurrence and block supports: `jax.shard_map`, and derivatives in both modes."""

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

BATCH = 2  # one row per device
# Accuracy is judged in float64, so the fastest compilation suffices.
FAST = {"xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Case:
    """`run(*rows, *shared)` returns a tree of arrays [B, ...]; rows are arrays [B, ...], shared ones have no batch."""

    run: Callable
    rows: tuple
    shared: tuple = ()
    limit: float = 1e-11


def check(case: Case, *, values: bool = True) -> None:
    """Checks that values and gradients inside `jax.shard_map` equal those outside, and <J v, w> = <v, J^T w>.

    All in one program. J v uses `forward_mode`, also inside `jax.shard_map`. Without `values` nothing is compiled: it
    only checks that jax traces everything, for cases that share their code with others.
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
