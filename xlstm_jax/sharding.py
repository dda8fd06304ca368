"""Which axes of a device mesh share out which axes of arrays, and functions run by each device on its own part."""

import functools
import itertools
import logging
import math
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard

# Logical axes, as they stand in the specs below, and the axes of an automatic mesh that share them out: those of this
# codebase's own mesh, then names in common use. Time is shared out by functions that pass on what crosses from one
# device's steps to the next (`ops.context`).
AXES = {"batch": ("data", "fsdp", "batch"), "heads": ("tensor", "heads", "model"), "time": ("context",)}


def on_each_device(run, args: tuple, specs: tuple, out_specs: Any):
    """`run(*args)`, by each device of the mesh on its own part of the batch and heads: nothing is gathered.

    Needed for what XLA cannot take apart itself, such as a kernel, which else runs on every device on all of the data.
    Sizes that their mesh axes do not divide are gathered along those. Where there is no mesh, or `jax.shard_map` has
    taken it apart already, it is `run(*args)` alone.

    Args:
        run: a function in which no entry of the batch, and no head, sees another; nor any step, but by collectives.
        args: arrays, trees of them, or None.
        specs: for each a `PartitionSpec` of logical axes (the keys of `AXES`) and None, or a tree of them.
        out_specs: the same of what `run` returns; every logical axis that stands in `specs` stands in each, but time
            in those that are the same for all of it.
    """
    pairs = _pairs(args, specs)
    mesh = _mesh(pairs)
    axes = {} if mesh.empty else {name: _dividing(_axes(name, mesh, pairs), name, mesh, pairs) for name in AXES}
    used = [*itertools.chain(*axes.values())]
    if not used:
        return run(*args)

    def placed(spec: PartitionSpec) -> PartitionSpec:
        return PartitionSpec(*(axes.get(name) or None for name in spec))

    explicit = [a for a, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit]
    inside = {"mesh": mesh, "axis_names": {*used, *explicit}, "check_vma": False}

    def mapped(*args):
        if explicit:
            args = _tree(
                lambda spec, a: None if a is None else reshard(a, NamedSharding(mesh, placed(spec))), specs, args
            )
        return jax.shard_map(run, in_specs=_tree(placed, specs), out_specs=_tree(placed, out_specs), **inside)(*args)

    # Outside `jit` not every version of jax maps over some of a mesh's axes alone.
    return jax.jit(mapped)(*args)


def sharing(name: str, args: tuple, specs: tuple) -> dict[str, int]:
    """The mesh axes, of more than one device, that are there to share out a logical axis, and their sizes."""
    pairs = _pairs(args, specs)
    mesh = _mesh(pairs)
    return {} if mesh.empty else {a: mesh.shape[a] for a in _axes(name, mesh, pairs) if mesh.shape[a] > 1}


def constrained(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    """`x` laid out over the automatic axes of the mesh in the context, where those split time; else as it is."""
    mesh = jax.sharding.get_abstract_mesh()
    automatic = {a for a, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Auto}
    if not automatic & {*sharing("time", (x,), (spec,))}:
        return x
    axes = {name: _dividing(_axes(name, mesh, [(x, spec)]), name, mesh, [(x, spec)]) for name in AXES}
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*(axes.get(name) or None for name in spec)))


def _tree(function, specs, *trees):
    return jax.tree.map(function, specs, *trees, is_leaf=lambda node: isinstance(node, PartitionSpec))


def _pairs(args, specs) -> list:
    pairs = []
    _tree(lambda spec, arg: pairs.append((arg, spec)), specs, args)
    return [(leaf, spec) for leaf, spec in pairs if leaf is not None]


def _mesh(pairs: list) -> jax.sharding.AbstractMesh:
    """The mesh of the context (`jax.set_mesh`), or else that on which an array lies."""
    context = jax.sharding.get_abstract_mesh()
    meshes = (jax.typeof(leaf).sharding.mesh for leaf, _ in pairs)
    return next((mesh for mesh in (context, *meshes) if not mesh.empty), context)


def _axes(name: str, mesh, pairs: list) -> tuple[str, ...]:
    """The mesh axes that share out a logical axis: by the array's type where they are explicit, else by `AXES`."""
    types = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    automatic = [a for a, kind in types.items() if kind == AxisType.Auto and mesh.shape[a] > 1]
    _warn(*(a for a in automatic if a not in itertools.chain(*AXES.values())))
    if (found := next((pair for pair in pairs if name in pair[1]), None)) is None:
        return ()
    leaf, spec = found
    own = jax.typeof(leaf).sharding.spec[spec.index(name)]
    axes = own if isinstance(own, tuple) else () if own is None else (own,)
    return axes + tuple(a for a in AXES[name] if a in automatic)


def _dividing(axes: tuple[str, ...], name: str, mesh, pairs: list) -> tuple[str, ...]:
    """The first of the mesh axes, as many as divide the logical axis."""
    size = next((leaf.shape[spec.index(name)] for leaf, spec in pairs if name in spec), 0)
    while size % math.prod(mesh.shape[a] for a in axes):
        axes = axes[:-1]
    return axes


@functools.cache
def _warn(*unknown: str) -> None:
    if unknown:
        logging.getLogger(__name__).warning(
            "mesh axes %s: kernels gather what is sharded over them; known are %s",
            *(", ".join(names) for names in (unknown, itertools.chain(*AXES.values()))),
        )
