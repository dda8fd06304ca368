"""Assigns axes of arrays to axes of a device mesh, and runs functions on each device's own part."""

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

# Logical axes, as named in specs and parameters' metadata, and the axes of an automatic mesh that split them: those of
# this code's own mesh, then other common names. Functions that split time pass states from one device's steps to the
# next (`ops.context`).
AXES = {
    "batch": ("data", "fsdp", "batch"),
    "heads": ("tensor", "heads", "model"),
    "time": ("context",),
    "inner": ("tensor",),  # features inside a block, which devices can split
    "vocab": ("tensor",),
    "embed": ("fsdp",),  # the model's width, only in parameters: gathered before use
}
ACTIVATIONS = ("batch", "time", None)


@dataclasses.dataclass(frozen=True)
class MeshConfig(Section, name="mesh"):
    """Number of devices along each axis of the mesh."""

    data: NonNegativeInt = 0  # splits rows of a batch; 0: all devices left by the other axes
    fsdp: PositiveInt = 1  # splits rows of a batch, and parameters with the optimiser's state
    tensor: PositiveInt = 1  # splits heads, inner features and vocabulary
    context: PositiveInt = 1  # splits steps of a sequence


def make_mesh(config: MeshConfig) -> Mesh:
    """Makes the mesh of this run, over all devices or the first ones.

    Raises:
        UsageError: more devices are requested than exist; with `data` 0, the other axes do not divide their number; or
            with several processes, some devices would be idle.
    """
    sizes, found = dataclasses.asdict(config), len(jax.devices())
    others = config.fsdp * config.tensor * config.context
    sizes["data"] = config.data or found // others
    shown, total = " x ".join(f"{name} {size or 1}" for name, size in sizes.items()), math.prod(sizes.values())
    if not 0 < total <= found or (not config.data and total != found):
        raise UsageError(f"mesh of {shown} does not fit the {found} devices; change mesh.data, mesh.fsdp, ...")
    if jax.process_count() > 1 and total != found:
        raise UsageError(f"mesh of {shown} leaves some of the {found} devices of {jax.process_count()} processes idle")
    kinds = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), kinds, devices=jax.devices()[:total])


def spec(axes: tuple[str | None, ...], shape: tuple[int, ...], mesh: Any, *, without: str = "") -> PartitionSpec:
    """Maps each logical axis to the mesh axes of `AXES` that divide it and are not used by an earlier axis.

    `without` excludes a mesh axis.
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
    """Constrains `x` to be sharded over the context's mesh by its logical axes; unchanged without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    placed = spec(axes, x.shape, mesh)
    return jax.lax.with_sharding_constraint(x, placed) if any(placed) else x


def parameter_axes(shape: tuple[int, ...], axes: tuple[str | None, ...] | None) -> tuple[str | None, ...]:
    """The logical axes of a parameter: the given ones, or the largest axis of a matrix as "embed"."""
    if axes is not None:
        return axes
    largest = max(range(len(shape)), key=lambda axis: shape[axis], default=0)
    return tuple("embed" if axis == largest and len(shape) > 1 else None for axis in range(len(shape)))


def on_each_device(run, args: tuple, specs: tuple, out_specs: Any):
    """Calls `run(*args)` on each device of the mesh for its own part of the batch and heads, without gathering.

    Needed for operations that XLA cannot partition, such as a kernel, which otherwise runs on every device on all of
    the data. An axis that its mesh axes do not divide is gathered along them. Without a mesh, or if `jax.shard_map` has
    already split the arrays, this is just `run(*args)`.

    Args:
        run: a function in which batch entries and heads are independent, and steps interact only by collectives.
        args: arrays, trees of arrays, or None.
        specs: for each argument a `PartitionSpec` of logical axes (keys of `AXES`) and None, or a tree of these.
        out_specs: the same for the results of `run`. Each must have every logical axis in `specs`, except time for
            results that are the same on all parts of the sequence.
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

    # Outside of `jit`, some versions of jax cannot map over only some axes of a mesh.
    return jax.jit(mapped)(*args)


def varying(tree: Any, *like: Any) -> Any:
    """Returns `tree`; inside `jax.shard_map`, marks its arrays as varying over all mesh axes of any of them or `like`.

    With `check_vma=True`, an array made inside, or the same on all devices, has a different type from one that varies,
    and a scan cannot have a carry of one type and a result of the other. Outside, and for arrays that already vary,
    nothing changes. The gradient of an array that was the same on all devices is the sum of the devices' gradients.
    """
    axes = frozenset().union(*map(_varying_axes, jax.tree.leaves((tree, like))))

    def vary(a):
        missing = axes - _varying_axes(a)
        return jax.lax.pcast(a, tuple(sorted(missing)), to="varying") if missing else a

    return jax.tree.map(vary, tree) if axes else tree


def _varying_axes(a: Any) -> frozenset[str]:
    return jax.typeof(a).manual_axis_type.varying


def sharing(name: str, args: tuple, specs: tuple) -> dict[str, int]:
    """The mesh axes of more than one device that can split a logical axis, and their sizes."""
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
    """The mesh of the context (`jax.set_mesh`), or else the mesh of the first array that has one."""
    context = jax.sharding.get_abstract_mesh()
    meshes = (jax.typeof(leaf).sharding.mesh for leaf, _ in pairs)
    return next((mesh for mesh in (context, *meshes) if not mesh.empty), context)


def _axes(name: str, mesh, pairs: list) -> tuple[str, ...]:
    """The mesh axes that split a logical axis: from the array's type if they are explicit, else from `AXES`."""
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
    """The longest prefix of the mesh axes whose size divides the logical axis."""
    size = next((leaf.shape[spec.index(name)] for leaf, spec in pairs if name in spec), 0)
    while size % math.prod(mesh.shape[a] for a in axes):
        axes = axes[:-1]
    return axes


@functools.cache
def _warn(*unknown: str) -> None:
    if unknown:
        logging.getLogger(__name__).warning(
            "mesh axes %s are unknown: kernels gather arrays sharded over them; known axes are %s",
            *(", ".join(names) for names in (unknown, dict.fromkeys(itertools.chain(*AXES.values())))),
        )
