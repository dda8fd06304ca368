"""Which axes of a device mesh share out which axes of arrays, and functions run by each device on its own part."""

import dataclasses
import functools
import itertools
import logging
import math
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, reshard

from xlstm_jax.config import NonNegativeInt, PositiveInt, Section
from xlstm_jax.errors import UsageError

# Logical axes, as specs and parameters' metadata name them, and the axes of an automatic mesh that share them out:
# those of this codebase's own mesh, then names in common use. Time is shared out by functions that pass on what crosses
# from one device's steps to the next (`ops.context`).
AXES = {
    "batch": ("data", "fsdp", "batch"),
    "heads": ("tensor", "heads", "model"),
    "time": ("context",),
    "inner": ("tensor",),  # features inside a block, of which each device can have its own
    "vocab": ("tensor",),
    "embed": ("fsdp",),  # the model's width, in parameters alone: gathered before use
}
ACTIVATIONS = ("batch", "time", None)


@dataclasses.dataclass(frozen=True)
class MeshConfig(Section, name="mesh"):
    """Devices along each axis of the mesh."""

    data: NonNegativeInt = 0  # rows of a batch; 0: all devices that the other axes leave
    fsdp: PositiveInt = 1  # rows of a batch, and parameters with the optimiser's state
    tensor: PositiveInt = 1  # heads, inner features and vocabulary
    context: PositiveInt = 1  # steps of a sequence


def make_mesh(config: MeshConfig) -> Mesh:
    """The mesh of this run, over the first devices or all.

    Raises:
        UsageError: more devices are asked for than there are, they do not go into one another, or, of several
            processes, some would have nothing to do.
    """
    sizes, found = dataclasses.asdict(config), len(jax.devices())
    others = config.fsdp * config.tensor * config.context
    sizes["data"] = config.data or found // others
    shown, total = " x ".join(f"{name} {size or 1}" for name, size in sizes.items()), math.prod(sizes.values())
    if not 0 < total <= found or (not config.data and total != found):
        raise UsageError(f"mesh of {shown} does not fit the {found} devices there are; change mesh.data, fsdp, ...")
    if jax.process_count() > 1 and total != found:
        raise UsageError(f"mesh of {shown} leaves some of the {found} devices of {jax.process_count()} processes idle")
    kinds = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), kinds, devices=jax.devices()[:total])


def spec(axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Any, *, without: str = "") -> PartitionSpec:
    """Where logical axes lie: each on those mesh axes of `AXES` that divide it and are not taken by one before.

    `without` leaves a mesh axis out.
    """
    automatic = {a for a, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Auto}
    parts, taken = [], {without}
    for name, size in zip(axes, shape, strict=True):
        own = [a for a in AXES.get(name, ()) if a in automatic - taken and mesh.shape[a] > 1]
        while size % math.prod(mesh.shape[a] for a in own):
            own.pop()
        taken.update(own)
        parts.append(tuple(own) or None)
    return PartitionSpec(*parts)


def constrain(x: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
    """`x` laid out over the mesh of the context by its logical axes; as it is where there is none."""
    mesh = jax.sharding.get_abstract_mesh()
    placed = spec(axes, x.shape, mesh)
    return jax.lax.with_sharding_constraint(x, placed) if any(placed) else x


def parameter_axes(shape: tuple[int, ...], axes: tuple[str | None, ...] | None) -> tuple[str | None, ...]:
    """The logical axes of a parameter: those kept beside it, or the largest axis of a matrix as "embed"."""
    if axes is not None:
        return axes
    largest = max(range(len(shape)), key=lambda axis: shape[axis], default=0)
    return tuple("embed" if axis == largest and len(shape) > 1 else None for axis in range(len(shape)))


def on_each_device(run, args: tuple, specs: tuple, out_specs: Any):
    """`run(*args)`, by each device of the mesh on its own part of the batch and heads: nothing is gathered.

    Needed for what XLA cannot take apart itself, such as a kernel, which else runs on every device on all of the data.
    Sizes that their mesh axes do not divide are gathered along those. Where there is no mesh, or `jax.shard_map` has
    taken it apart already, it is `run(*args)` alone.

    Args:
        run: a function in which no entry of the batch, and no head, sees another; nor any step, but by collectives.
        args: arrays, trees of them, or None.
        specs: for each a `PartitionSpec` of logical axes (the keys of `AXES`) and None, or a tree of them.
        out_specs: the same of what `run` returns; every logical axis in `specs` is in each of them, but time
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


def varying(tree: Any, *like: Any) -> Any:
    """`tree`; inside `jax.shard_map` its arrays vary over each mesh axis that one of them, or of `like`, varies over.

    An array made inside, or the same on all devices, has a type of its own there (`check_vma=True`), in which a scan
    cannot carry it from one step to the next beside others. Outside, and for arrays that vary so already, nothing
    happens. The gradient of an array that was the same on all devices is the sum of theirs.
    """
    axes = frozenset().union(*map(_varying_axes, jax.tree.leaves((tree, like))))

    def vary(a):
        missing = axes - _varying_axes(a)
        return jax.lax.pcast(a, tuple(sorted(missing)), to="varying") if missing else a

    return jax.tree.map(vary, tree) if axes else tree


def _varying_axes(a: Any) -> frozenset[str]:
    return jax.typeof(a).manual_axis_type.varying


def sharing(name: str, args: tuple, specs: tuple) -> dict[str, int]:
    """The mesh axes, of more than one device, that are there to share out a logical axis, and their sizes."""
    pairs = _pairs(args, specs)
    mesh = _mesh(pairs)
    return {} if mesh.empty else {a: mesh.shape[a] for a in _axes(name, mesh, pairs) if mesh.shape[a] > 1}


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
            *(", ".join(names) for names in (unknown, dict.fromkeys(itertools.chain(*AXES.values())))),
        )
