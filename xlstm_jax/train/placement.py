"""Placement of a run's parameters, optimiser state and batches on a mesh, with one process or several."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from xlstm_jax import sharding
from xlstm_jax.errors import UsageError


class Placement:
    """The shardings for training one model on a mesh.

    Args:
        mesh: has the axes of `sharding.MeshConfig`.
        abstract: the model's `nnx.State` with shapes only.
        axes: maps a batch to the logical axes of each of its leaves, like `Task.axes`.
        batch_size: rows of the global batch.

    Raises:
        UsageError: the batch cannot be divided evenly.
    """

    def __init__(self, mesh: Mesh, abstract: nnx.State, axes: Callable[[Any], Any], batch_size: int):
        rows = mesh.shape["data"] * mesh.shape["fsdp"]
        if batch_size % rows:
            raise UsageError(
                f"data.batch_size {batch_size} is not a multiple of the {rows} devices along data x fsdp; change one"
            )
        self.mesh, self.batch_size, self._axes = mesh, batch_size, axes
        self.params = _shardings(abstract, mesh)
        self._gathered = _shardings(abstract, mesh, without="fsdp")
        self.replicated = NamedSharding(mesh, PartitionSpec())

    def check(self, batch: Any) -> None:
        """Raises `UsageError` if the steps of a batch cannot be shared out evenly."""
        context = self.mesh.shape["context"]
        leaves, form = jax.tree.flatten(batch)
        for leaf, names in zip(leaves, form.flatten_up_to(self._axes(batch)), strict=True):
            for name, size in zip(names, leaf.shape, strict=True):
                if name == "time" and size % context:
                    raise UsageError(
                        f"the {context} devices along mesh.context cannot share {size} steps evenly; change "
                        "mesh.context, or the length of the rows (data.sequence_length or data.multiple_of)"
                    )

    @functools.cached_property
    def rows(self) -> slice:
        """The rows of a global batch that this process's devices need."""
        own = self._sharding(("batch",), (self.batch_size,)).addressable_devices_indices_map((self.batch_size,))
        spans = [index[0].indices(self.batch_size)[:2] for index in own.values()]
        return slice(min(first for first, _ in spans), max(last for _, last in spans))

    def batch(self, batch: Any) -> Any:
        """The global batch, given this process's `rows` of it."""
        if self.mesh.size == 1:
            return batch

        def placed(local: np.ndarray, axes: tuple[str | None, ...]) -> jax.Array:
            if axes[:1] != ("batch",):
                return jax.device_put(local, self._sharding(axes, local.shape))
            shape = (self.batch_size, *local.shape[1:])

            def part(index: tuple[slice, ...]) -> np.ndarray:
                first, last, _ = index[0].indices(self.batch_size)
                return local[(slice(first - self.rows.start, last - self.rows.start), *index[1:])]

            return jax.make_array_from_callback(shape, self._sharding(axes, shape), part)

        leaves, form = jax.tree.flatten(batch)
        axes = form.flatten_up_to(self._axes(batch))
        return form.unflatten(placed(*pair) for pair in zip(leaves, axes, strict=True))

    def _sharding(self, axes: tuple[str | None, ...], shape: tuple[int, ...]) -> NamedSharding:
        return NamedSharding(self.mesh, sharding.spec(axes, shape, self.mesh))

    def own_rows(self, tree: Any) -> Any:
        """This process's `rows` of global arrays [B, ...], as NumPy arrays."""

        def own(leaf: jax.Array) -> np.ndarray:
            if leaf.is_fully_addressable:
                return np.asarray(leaf)[self.rows]
            shards = {shard.index[0].indices(self.batch_size)[0]: shard.data for shard in leaf.addressable_shards}
            return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])

        return jax.tree.map(own, tree)

    def gathered(self, params: Any) -> Any:
        """Gathers parameters along "fsdp" for use. Call it inside `jit`; the gradients are reduced accordingly."""
        if self.mesh.shape["fsdp"] == 1:
            return params
        return jax.tree.map(jax.lax.with_sharding_constraint, params, self._gathered)

    def state(self, abstract: Any, optimizer: optax.GradientTransformation) -> Any:
        """The shardings of a whole `TrainState`. Optimizer arrays shaped like a parameter get its sharding."""

        def masked(node: Any) -> bool:  # stands for the optimizer arrays that a frozen parameter does not have
            return isinstance(node, optax.MaskedNode)

        opt_state = optax.tree.map_params(
            optimizer,
            lambda own, like: own if masked(own) else like,
            abstract.opt_state,
            self.params,
            transform_non_params=lambda _: self.replicated,
            is_leaf=masked,
        )
        return type(abstract)(self.replicated, self.params, opt_state, self.carry(abstract.carry))

    def carry(self, abstract: Any) -> Any:
        """The shardings of a model's carry, whose arrays have the batch as first axis."""

        def placed(leaf: jax.ShapeDtypeStruct) -> NamedSharding:
            if not leaf.shape or leaf.shape[0] != self.batch_size:
                return self.replicated
            return NamedSharding(self.mesh, sharding.spec(("batch",), leaf.shape[:1], self.mesh))

        return jax.tree.map(placed, abstract)

    def any(self, flag: bool) -> jax.Array:
        """1 if `flag` is true in any process, else 0; the same in all processes."""
        spread = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        flags = jax.make_array_from_callback((self.mesh.size,), spread, lambda _: np.full(1, flag, np.int32))
        return self._max(flags)

    @functools.cached_property
    def _max(self):
        return jax.jit(jnp.max, out_shardings=self.replicated)

    def local(self, tree: Any) -> Any:
        """A whole copy on one device of this process, for work that is not sharded, such as sampling."""
        if self.mesh.size == 1:
            return tree
        whole = jax.jit(lambda tree: tree, out_shardings=self.replicated)(tree)
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)


def _shardings(abstract: nnx.State, mesh: Mesh, *, without: str = "") -> dict:
    """The sharding of each parameter, as a tree like the state's pure dict; ignores the mesh axis `without`."""

    def placed(variable: nnx.Variable) -> nnx.Variable:
        shape = variable.get_value().shape
        axes = sharding.parameter_axes(shape, variable.get_metadata().get("axes"))
        return variable.replace(NamedSharding(mesh, sharding.spec(axes, shape, mesh, without=without)))

    return nnx.to_pure_dict(jax.tree.map(placed, abstract, is_leaf=lambda node: isinstance(node, nnx.Variable)))
